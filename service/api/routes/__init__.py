"""The endpoints, one noun a module."""
