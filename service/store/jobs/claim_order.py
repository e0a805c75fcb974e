"""Which jobs a claim takes: tenants take turns, the fewest running jobs first, and jobs alike go as one array."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, func, literal, select

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import CTE, Connection, Row, Select

MANY = 2**31 - 1  # running jobs that no tenant has
KNOWN = jobs.c.spec_version <= SPEC_VERSION  # others stay queued, for a worker of a newer version
CLAIMABLE = and_(jobs.c.status == Status.queued, KNOWN, jobs.c.device_request.in_(bindparam("devices", expanding=True)))
_OF_ARRAY = jobs.c.tenant == bindparam("tenant"), jobs.c.array_key == bindparam("array_key"), jobs.c.failures == 0
_ALIKE = and_(CLAIMABLE, *_OF_ARRAY)


def in_turn(connection: Connection, devices: Collection[str], most: int) -> Sequence[str]:
    """The tenants with a job that one of `devices` can train, in the order of their turns.

    The fewest running jobs first; among equals the one whose last claim is longest ago, then the one whose next job
    was submitted first. `most`: a tenant with so many running jobs has no turn; 0: any number.

    A few index look-ups for each tenant that waits, however many jobs do. Claims that are not committed yet are not
    seen, so that claimers at the same moment may take the same turn; the next claims make up for it.
    """
    return connection.scalars(_turns(), {"devices": ["auto", *devices], "most": most or MANY}).all()


def head(connection: Connection, devices: Collection[str], tenant: str) -> Row[Any] | None:
    """The tenant's next job that one of `devices` can train, locked; others who claim meanwhile get the one after."""
    return connection.execute(_head(), {"devices": ["auto", *devices], "tenant": tenant}).first()


def count_alike(connection: Connection, devices: Collection[str], head: Row[Any], most: int) -> int:
    """How many queued jobs, counted to `most`, can be trained as one array with `head`, itself among them."""
    return connection.scalar(_count_alike(), {**_array_of(devices, head), "most": most}) or 0


def alike(connection: Connection, devices: Collection[str], head: Row[Any], width: int) -> Sequence[str]:
    """The ids of the first `width` of these, locked; without those that others have locked."""
    ids: Sequence[str] = connection.scalars(_alike(), {**_array_of(devices, head), "width": width}).all()
    return ids


def _array_of(devices: Collection[str], head: Row[Any]) -> dict[str, Any]:
    return {"devices": ["auto", *devices], "tenant": head.tenant, "array_key": head.array_key}


# Each statement is built once: that takes longer than to run it.


@cache
def _head() -> Select[Any]:
    first = select(*(jobs.c[name] for name in ("id", "tenant", "array_key", "array_limit", "failures")))
    return _first(first.where(CLAIMABLE, jobs.c.tenant == bindparam("tenant"))).with_for_update(skip_locked=True)


@cache
def _count_alike() -> Select[Any]:
    some = select(literal(1)).where(_ALIKE).limit(bindparam("most", type_=Integer))
    return select(func.count()).select_from(some.subquery())


@cache
def _alike() -> Select[Any]:
    ordered = select(jobs.c.id).where(_ALIKE).order_by(jobs.c.priority.desc(), jobs.c.id)
    return ordered.limit(bindparam("width", type_=Integer)).with_for_update(skip_locked=True)


@cache
def _turns() -> Select[Any]:
    waiting = _waiting()
    mine = jobs.c.tenant == waiting.c.tenant
    running = select(func.count()).where(mine, jobs.c.status == Status.running).scalar_subquery()
    claimed_at = select(func.max(jobs.c.started_at)).where(mine).scalar_subquery()
    next_one = _first(select(jobs.c.id).where(mine, CLAIMABLE)).scalar_subquery()
    query = select(waiting.c.tenant, next_one.label("head"), running.label("running"), claimed_at.label("claimed_at"))
    found = query.where(waiting.c.tenant.is_not(None)).subquery()
    turns = select(found.c.tenant).where(found.c.head.is_not(None), found.c.running < bindparam("most"))
    return turns.order_by(found.c.running, found.c.claimed_at.nulls_first(), found.c.head)


def _first(query: Select[Any]) -> Select[Any]:
    return query.order_by(jobs.c.priority.desc(), jobs.c.id).limit(1)


def _waiting() -> CTE:
    """Each tenant with queued jobs and a NULL at the end, found by skipping from one to the next in the index."""
    queued = jobs.c.status == Status.queued
    waiting = select(func.min(jobs.c.tenant).label("tenant")).where(queued).cte("waiting", recursive=True)
    following = select(func.min(jobs.c.tenant)).where(queued, jobs.c.tenant > waiting.c.tenant).scalar_subquery()
    return waiting.union_all(select(following).where(waiting.c.tenant.is_not(None)))
