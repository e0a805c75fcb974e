"""Training: pure torch, no database, no HTTP, no environment."""
