"""Predictions and exports: a helper process with torch, and its client in the API."""
