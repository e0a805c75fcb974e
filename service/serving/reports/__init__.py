"""Reports on the best epoch of a job: built in a process of their own, which has torch."""
