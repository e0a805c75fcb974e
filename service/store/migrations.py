"""Schema migrations with Alembic: checks compatibility of the schema with this version, and upgrades it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

import service
from service.errors import SchemaMismatch
from service.store.schema import schema_compatibility

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDER = "the database schema is older than this version: run `bestepoch migrate`"
NEWER = (
    "a newer version of bestepoch has migrated the database to a schema that this version cannot use:"
    " install that version, or restore the backup from before the migration"
)


def check(connection: Connection) -> None:
    """Raise SchemaMismatch, with the remedy, unless this version can use the database.

    It can if the revision is its own head, or a later one reached by expand-only migrations: then the revision in
    `usable_since` is one that this version knows.
    """
    revision = revision_of(connection)
    if revision == head():
        return
    if revision is None or revision in _known():
        raise SchemaMismatch(OLDER)
    if not inspect(connection).has_table(schema_compatibility.name):
        raise SchemaMismatch(NEWER)
    if connection.scalar(select(schema_compatibility.c.usable_since)) not in _known():
        raise SchemaMismatch(NEWER)


def upgrade(connection: Connection) -> None:
    """Run pending migrations; a database of a newer version is left alone.

    Raises SchemaMismatch if this version cannot use it.
    """
    revision = revision_of(connection)
    if revision is not None and revision not in _known():
        check(connection)
        return
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_behind(revision: str) -> bool:
    """Whether migrations are pending at this revision."""
    return revision in _known() - {head()}


def revision_of(connection: Connection) -> str | None:
    """The database's revision; None before the first migration."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """The newest revision that this version knows."""
    found = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert found is not None, "there are migrations"
    return found


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def alembic_config() -> Config:
    """Alembic's configuration: migrations are inside the package in a wheel, beside it in a checkout."""
    package = Path(service.__file__).parent
    inside = package / "migrations"
    config = Config()
    config.set_main_option("script_location", str(inside if inside.exists() else package.parent / "migrations"))
    return config
