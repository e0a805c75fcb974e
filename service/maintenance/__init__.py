"""Maintenance of a deployment: garbage collection, integrity checks, the deployment id."""
