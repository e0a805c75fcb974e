"""The dashboard in a real Chromium, over a real service."""
