"""The job queue in the jobs table: submission, claims, leases, attempts, forks and events."""
