"""Claim, train, record: one supervisor process and its warm trainer processes."""
