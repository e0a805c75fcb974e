"""The endpoints, one noun per module."""
