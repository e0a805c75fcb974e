"""The jobs table, which is the queue: submission, claims, leases, attempts and events."""
