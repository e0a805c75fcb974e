"""Comparison of configurations by their runs: paired t tests, corrected for folds and for several comparisons."""
