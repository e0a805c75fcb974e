"""Bytes to table to arrays: DuckDB reads and profiles, numpy prepares. No torch, no database."""
