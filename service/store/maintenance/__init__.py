"""Reads and writes for upkeep: integrity checks, garbage collection, retention, statistics."""
