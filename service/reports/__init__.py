"""Reports on trained networks: statistics in NumPy, without torch and without files."""
