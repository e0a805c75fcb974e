"""bestepoch: training as a service."""
