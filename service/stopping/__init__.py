"""Early stopping as values: the rules' tracker and its replay. Pure Python, no torch."""
