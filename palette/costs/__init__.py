"""What a plan will run, why, and what that costs, on GPUs that need not be there."""
