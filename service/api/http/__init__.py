"""HTTP itself: strict requests, problem responses, ranges, uploads, tabular responses, OpenAPI."""
