"""What clients wait for: changes of jobs, read once for all who wait."""
