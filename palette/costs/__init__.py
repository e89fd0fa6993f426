"""Reports on a plan: its jobs, the reasons for them, and their cost, also on GPUs that this machine does not have."""
