"""Cost of a plan, also on GPUs that this machine does not have, and what its finished jobs took."""
