"""Records and enums shared by all packages: jobs, epochs, checkpoints, sweeps, events, access. Pure Python."""
