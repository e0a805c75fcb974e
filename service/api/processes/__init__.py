"""Several API processes on one port: the parent that starts them, and what they share through it."""
