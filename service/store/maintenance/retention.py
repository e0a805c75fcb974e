"""Retention: deletes old ended jobs in batches, and sweeps without jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, exists, select

from service.domain.status import ENDED
from service.store.decisions import AWAITED
from service.store.engine import allow_long_statements
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import files_of, referenced
from service.store.schema import NO_TENANT, STAGED, jobs, sweeps

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def delete_jobs(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` jobs that ended before, with history and files; returns their number.

    Those on which decisions of their sweeps depend are kept until these have been taken.
    """
    allow_long_statements(connection)  # a job may have a million epochs
    old = select(jobs.c.id).where(jobs.c.status.in_(ENDED), jobs.c.finished_at < before, ~AWAITED)
    held = old.order_by(jobs.c.id).limit(limit).with_for_update(skip_locked=True)  # locked jobs are deleted next time
    ids = list(connection.scalars(held))
    if not ids:
        return 0
    keys = files_of(connection, ids)
    count = connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount
    garbage.discard(connection, keys - referenced(connection, keys))
    return count


def delete_staged(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` staged jobs of sweeps that were never completed; returns their number."""
    old = select(jobs.c.id).where(jobs.c.status == STAGED, jobs.c.tenant == NO_TENANT, jobs.c.created_at < before)
    held = old.order_by(jobs.c.id).limit(limit).with_for_update(skip_locked=True)
    ids = list(connection.scalars(held))
    return connection.execute(delete(jobs).where(jobs.c.id.in_(ids))).rowcount if ids else 0


def delete_sweeps(connection: Connection, before: datetime) -> int:
    """Delete sweeps that were created before, have no jobs, and have ended; returns their number."""
    empty = and_(sweeps.c.created_at < before, ~sweeps.c.pending, ~exists().where(jobs.c.sweep_id == sweeps.c.id))
    ids = connection.scalars(select(sweeps.c.id).where(empty).order_by(sweeps.c.id).with_for_update()).all()
    return connection.execute(delete(sweeps).where(sweeps.c.id.in_(ids), empty)).rowcount
