"""The database: the only room that knows SQL. Functions never commit; `Database.transaction()` does."""
