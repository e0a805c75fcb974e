"""Drift: how the rows to predict differ from those that a model was trained on; NumPy alone."""
