"""Which artifacts the rows name. A column called `path` holds an artifact's key, in whatever table it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from service.domain.status import ENDED
from service.store.maintenance import garbage
from service.store.schema import jobs, metadata
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

TABLES = [table for table in metadata.sorted_tables if "path" in table.c]


def referenced(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys that a row names."""
    wanted = list(keys)
    if not wanted:
        return set()
    queries = [select(table.c.path).where(in_tenant(connection, table), table.c.path.in_(wanted)) for table in TABLES]
    return {key for query in queries for key in connection.scalars(query)}


def collectable(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys that no row names and none will: a transaction discarded them, or their job or data set, the
    second part, is not alive.

    A live job's trainer may have written a file long ago and wait for the database since.
    """
    left = set(keys) - referenced(connection, keys)
    discarded = {key for key, mark in garbage.marks(connection, left).items() if mark.discarded}
    owners = {key: key.split("/")[1] for key in left - discarded}
    query = select(jobs.c.id).where(jobs.c.id.in_(list(set(owners.values()))), jobs.c.status.not_in(ENDED))
    alive = set(connection.scalars(query)) if owners else set()
    return discarded | {key for key, owner in owners.items() if owner not in alive}
