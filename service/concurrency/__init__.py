"""Limits on expensive work: fair slots for tenants, and cancellation."""
