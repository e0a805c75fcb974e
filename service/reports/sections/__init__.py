"""Sections of a report, as the API returns them. Without NumPy, because the API starts without it."""
