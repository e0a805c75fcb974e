"""Sweeps after their submission: the decisions that they take, and the models that they publish."""
