"""The records that every room shares, and the states of a job. Pure Python."""
