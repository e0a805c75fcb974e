"""Predictions and exports: a helper process that holds torch, and the API's end of it."""
