"""What every command begins with: the settings, the logs, the database."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service import logs
from service.collector import Keeping
from service.errors import Misconfigured
from service.settings import Settings
from service.store import schema
from service.store.engine import Database, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_settings(host: str | None = None, port: int | None = None) -> Settings:
    """The settings; logs and the modes of new files as they say. Raises Misconfigured."""
    overrides: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problem = error.errors()[0]
        said = problem["msg"].removeprefix("Value error, ")
        name = "".join(str(part).upper() for part in problem["loc"])
        raise Misconfigured(f"BESTEPOCH_{name}: {said}" if name else said) from None
    logs.set_up(settings.log_level, settings.log_format)
    # The one place that decides who may read what this process and its children write: others never may.
    os.umask(0o007 if settings.group_access else 0o077)
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


def keeping(settings: Settings) -> Keeping:
    """How long the collector keeps things."""
    return Keeping(settings.keep_days, settings.grace_hours, settings.trash_days)


def open_database(settings: Settings) -> Database:
    """The database, open; raises SchemaMismatch when this version cannot use its schema."""
    database = Database(settings.database, settings.statement_seconds)
    with database.reading() as connection:
        schema.check(connection)
    return database
