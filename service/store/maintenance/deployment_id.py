"""The deployment's id, made by a migration, and whether the artifacts folder has been given it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from service.store.schema import deployment

if TYPE_CHECKING:
    from sqlalchemy import Connection


def read(connection: Connection) -> tuple[str, bool]:
    """(id, whether a folder was given it)."""
    row = connection.execute(select(deployment.c.id, deployment.c.paired)).one()
    return row.id, row.paired


def pair(connection: Connection) -> None:
    """The artifacts folder has the id now."""
    connection.execute(update(deployment).values(paired=True))
