"""File formats: recognized by their bytes, and read by one module each."""
