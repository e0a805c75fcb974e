"""Whose turn it is: claims go round between tenants, to the one with the fewest running jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from service.lifecycle import Status
from service.store.tables import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, ColumnElement, Connection


def in_turn(connection: Connection, can: ColumnElement[bool], most: int) -> Sequence[str]:
    """The tenants with a job that `can` be claimed, in the order of their turns.

    The fewest running jobs first; among equals the one whose last claim is longest ago, then the one whose next job
    was submitted first. `most`: a tenant with so many running jobs has no turn; 0: any number.

    A few index look-ups for each tenant that waits, however many jobs do. Claims that are not committed yet are not
    seen, so that claimers at the same moment may take the same turn; the next claims make up for it.
    """
    waiting = _waiting()
    mine = jobs.c.tenant == waiting.c.tenant
    running = select(func.count()).where(mine, jobs.c.status == Status.running).scalar_subquery()
    claimed_at = select(func.max(jobs.c.started_at)).where(mine).scalar_subquery()
    ordered = select(jobs.c.id).where(mine, can).order_by(jobs.c.priority.desc(), jobs.c.id)
    head = ordered.limit(1).scalar_subquery()
    query = select(waiting.c.tenant, head.label("head"), running.label("running"), claimed_at.label("claimed_at"))
    found = query.where(waiting.c.tenant.is_not(None)).subquery()
    turns = select(found.c.tenant).where(found.c.head.is_not(None))
    if most:
        turns = turns.where(found.c.running < most)
    return connection.scalars(turns.order_by(found.c.running, found.c.claimed_at.nulls_first(), found.c.head)).all()


def _waiting() -> CTE:
    """Each tenant with queued jobs and a NULL at the end, found by skipping from one to the next in the index."""
    queued = jobs.c.status == Status.queued
    waiting = select(func.min(jobs.c.tenant).label("tenant")).where(queued).cte("waiting", recursive=True)
    following = select(func.min(jobs.c.tenant)).where(queued, jobs.c.tenant > waiting.c.tenant).scalar_subquery()
    return waiting.union_all(select(following).where(waiting.c.tenant.is_not(None)))
