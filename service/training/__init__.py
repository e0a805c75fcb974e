"""The training engine: pure torch, without database, HTTP and environment."""
