"""Preprocessing: from a table to the arrays that networks are trained on."""
