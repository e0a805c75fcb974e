"""What a client may ask for: pydantic models, pure Python, no torch."""
