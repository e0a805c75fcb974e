"""The database's schema: whether this version of the service can use it, and how it is brought up to date."""

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

OLDER = "the database lacks tables of this version: run `bestepoch migrate`"
NEWER = (
    "a newer version of bestepoch has migrated the database to a schema that this version cannot use:"
    " install that version, or restore the copy of the database from before"
)


def check(connection: Connection) -> None:
    """Raise SchemaMismatch, with what to do, unless this version can use the database.

    It can if the revision is its own newest, or a later one whose migrations were only expanding: then the revision
    that the database names as `usable_since` is one that this version knows.
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
    """Run the migrations that are due; a database that a newer version has migrated stays as it is.

    Raises SchemaMismatch where this version cannot use such a one.
    """
    revision = revision_of(connection)
    if revision is not None and revision not in _known():
        check(connection)
        return
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_behind(revision: str) -> bool:
    """Whether `upgrade` has something to do at this revision."""
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
    """Where the migrations are: in a wheel inside the package, in a checkout beside it."""
    package = Path(service.__file__).parent
    inside = package / "migrations"
    config = Config()
    config.set_main_option("script_location", str(inside if inside.exists() else package.parent / "migrations"))
    return config
