"""What keeps a deployment sound: garbage collection, integrity checks, the deployment's id."""
