"""References from rows to artifacts, and the deployment id that database and artifacts folder share.

Every column named `path`, in any table, holds an artifact key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from service.domain.status import ENDED
from service.store.maintenance import garbage
from service.store.schema import checkpoints, deployment, job_files, jobs, metadata
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

JOB_TABLES = (checkpoints, job_files)  # whose files belong to a job, and are garbage when it is deleted
TABLES = [table for table in metadata.sorted_tables if "path" in table.c]


def referenced(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these artifact keys that a row refers to."""
    wanted = list(keys)
    if not wanted:
        return set()
    queries = [select(table.c.path).where(in_tenant(connection, table), table.c.path.in_(wanted)) for table in TABLES]
    return {key for query in queries for key in connection.scalars(query)}


def files_of(connection: Connection, job_ids: Collection[str]) -> set[str]:
    """The artifact keys of these jobs' files; other rows may refer to them, too."""
    wanted = list(job_ids)
    queries = [
        select(table.c.path).where(in_tenant(connection, table), table.c.job_id.in_(wanted)) for table in JOB_TABLES
    ]
    return {key for query in queries for key in connection.scalars(query)}


def collectable(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of these keys that are garbage: unreferenced, and either discarded by a transaction or without a live job.

    Files of live jobs are kept: a trainer may have written a file and be waiting for the database to record it.
    """
    unreferenced = set(keys) - referenced(connection, keys)
    discarded = {key for key, mark in garbage.marks(connection, unreferenced).items() if mark.discarded}
    owners = {key: key.split("/")[1] for key in unreferenced - discarded}
    query = select(jobs.c.id).where(jobs.c.id.in_(list(set(owners.values()))), jobs.c.status.not_in(ENDED))
    live = set(connection.scalars(query)) if owners else set()
    return discarded | {key for key, owner in owners.items() if owner not in live}


def deployment_id(connection: Connection) -> tuple[str, bool]:
    """(deployment id, whether it was written to the artifacts folder). A migration has created the id."""
    row = connection.execute(select(deployment.c.id, deployment.c.paired)).one()
    return row.id, row.paired


def set_paired(connection: Connection) -> None:
    """Record that the artifacts folder has the deployment id."""
    connection.execute(update(deployment).values(paired=True))
