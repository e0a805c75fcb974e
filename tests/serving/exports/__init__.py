"""Exports of networks."""
