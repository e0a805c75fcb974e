"""The database, on SQLite or Postgres: all SQL is here. Functions never commit; `Database.transaction()` does."""
