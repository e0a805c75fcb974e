"""Child processes with limits on memory, time and disk: files come from strangers."""
