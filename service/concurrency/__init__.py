"""Concurrency limits for expensive work: slots shared fairly between tenants, and cancellation."""
