"""ASGI middleware: request ids, host and origin checks, authentication, rate limits, metrics."""
