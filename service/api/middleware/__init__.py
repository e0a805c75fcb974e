"""Around every request: request ids, hosts and origins, authentication, rate limits, metrics."""
