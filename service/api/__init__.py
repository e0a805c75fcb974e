"""The HTTP API: requests in, records of the store and bytes of the artifacts out."""
