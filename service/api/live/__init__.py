"""Waiting requests and streams: changes of jobs, read once for all of them."""
