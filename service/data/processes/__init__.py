"""Child processes with limits and a sandbox, because uploaded files are untrusted."""
