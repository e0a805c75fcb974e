"""The worker: a supervisor process that claims jobs, and trainer processes that train and record them."""
