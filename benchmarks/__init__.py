"""Benchmarks: speed measured side by side in one run; RESULTS.md has the results."""
