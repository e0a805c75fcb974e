"""Data: uploaded bytes -> table -> arrays. DuckDB parses and profiles, NumPy preprocesses; no torch, no database."""
