"""Many runs on one page: statistics of a few seeds, and learning curves."""
