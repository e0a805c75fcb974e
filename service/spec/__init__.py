"""The spec: what a client may ask for, as pydantic models; pure Python without torch."""
