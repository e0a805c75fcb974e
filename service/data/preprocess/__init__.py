"""A table to the arrays that networks train on."""
