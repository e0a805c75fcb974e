"""Workers on the machines of a cluster, started by its own scheduler."""
