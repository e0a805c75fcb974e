"""Ensembles from kept predictions: greedy selection of members, and how good their weighted mean is."""
