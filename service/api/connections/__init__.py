"""The server's connections: their number, and timeouts of slow clients."""
