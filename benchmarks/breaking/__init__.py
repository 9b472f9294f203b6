"""What breaks a run on purpose, and what is asserted afterwards; see ../chaos.py."""
