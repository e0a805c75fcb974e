"""Database side of maintenance: integrity checks, garbage collection, retention, statistics."""
