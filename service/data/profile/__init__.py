"""The profile of a table: statistics of its columns, and what to warn of."""
