"""Early stopping: the tracker that applies a rule, and its replay on recorded histories. Pure Python."""
