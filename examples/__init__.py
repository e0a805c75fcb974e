"""What a person does with a running service, as scripts to read and run."""
