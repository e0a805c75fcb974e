"""Networks as files that need no service."""
