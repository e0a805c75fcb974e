"""Example scripts for a running service."""
