"""Which artifacts the rows name. A column called `path` holds an artifact's key, in whatever table it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from service.lifecycle import LIVE
from service.store.tables import jobs, metadata

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

PATHS = [table.c.path for table in metadata.sorted_tables if "path" in table.c]


def named(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys that a row names."""
    wanted = list(keys)
    found = [connection.scalars(select(path).where(path.in_(wanted))) for path in PATHS] if wanted else []
    return {key for paths in found for key in paths}


def abandoned(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys that no row names and none will: their job or data set, the second part, is not alive.

    A live job's trainer may have written a file long ago and wait for the database since.
    """
    left = set(keys) - named(connection, keys)
    owners = {key: key.split("/")[1] for key in left}
    query = select(jobs.c.id).where(jobs.c.id.in_(list(set(owners.values()))), jobs.c.status.in_(LIVE))
    alive = set(connection.scalars(query)) if owners else set()
    return {key for key in left if owners[key] not in alive}
