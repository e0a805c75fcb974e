"""HTTP: JSON bodies, validation errors, problem responses, ranges, uploads, OpenAPI."""
