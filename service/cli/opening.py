"""What every command begins with: the settings, the logs, the database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service import logs
from service.errors import Misconfigured
from service.settings import Settings
from service.store.engine import Database, is_migrated, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_settings(host: str | None = None, port: int | None = None) -> Settings:
    """The settings, and logs as they say; raises Misconfigured."""
    overrides: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problem = error.errors()[0]
        name = "".join(str(part).upper() for part in problem["loc"])
        raise Misconfigured(f"BESTEPOCH_{name}: {problem['msg'].removeprefix('Value error, ')}") from None
    logs.set_up(settings.log_level, settings.log_format)
    return settings


@contextmanager
def database_of(settings: Settings) -> Iterator[Database]:
    """The database of a command that does one thing with it; a new SQLite file gets its tables."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


def open_database(settings: Settings) -> Database:
    """The database, open; raises Misconfigured when its schema is not this version's."""
    database = Database(settings.database, settings.statement_seconds)
    with database.reading() as connection:
        if not is_migrated(connection):
            raise Misconfigured("the database does not have this version's schema: run `bestepoch migrate`")
    return database
