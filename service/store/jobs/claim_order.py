"""The order of claims: round-robin between tenants, then priority and age; similar jobs form one array."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, func, literal, or_, select

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import CTE, Connection, Row, Select

ALL_IDS = "k"  # greater than any job's id; ids begin with the time of submission
UNLIMITED = 2**31 - 1  # more running jobs than any tenant has
KNOWN = jobs.c.spec_version <= SPEC_VERSION  # newer specs stay queued for a newer worker
CLAIMABLE = and_(
    jobs.c.status == Status.queued,
    KNOWN,
    jobs.c.device_request.in_(bindparam("devices", expanding=True)),
    jobs.c.worker_labels.in_(bindparam("labels", expanding=True)),
    or_(jobs.c.ranks <= bindparam("ranks", value=1), jobs.c.ranks > bindparam("beyond", value=UNLIMITED)),
    or_(jobs.c.suits_preemptible == bindparam("preemptible"), jobs.c.id < bindparam("left_until")),
)
_OF_TENANT = jobs.c.tenant == bindparam("tenant"), jobs.c.failures == 0


@dataclass(frozen=True)
class Claimant:
    """A worker that asks for jobs."""

    worker: str
    devices: Collection[str]
    """The devices it trains on; jobs that ask for another device stay queued."""
    width: int
    """At most this many jobs in one claim."""
    trainers: int
    """How many of its trainers are idle: they share the queued jobs evenly."""
    labels: Collection[str] = ("",)
    """The subsets of its labels, as text; jobs that ask for other labels stay queued."""
    ranks: int = 1
    """The largest number of devices of a job that it can start now; jobs on more devices stay queued ..."""
    beyond: int = UNLIMITED
    """... up to so many: for a job on more, there are not enough trainers anywhere, and it starts some for it."""
    preemptible: bool = False
    """Whether its machine may be taken away at short notice."""
    leaves_seconds: float = 0.0
    """For so long after their submission it leaves jobs that suit the other class of workers to those; 0: there are
    none. See decision 113."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Which jobs it can claim: the parameters of `CLAIMABLE`."""
        left = f"job_{time.time_ns() - int(self.leaves_seconds * 1e9):016x}" if self.leaves_seconds else ALL_IDS
        return {
            "devices": ["auto", *self.devices],
            "labels": list(self.labels),
            "ranks": self.ranks,
            "beyond": self.beyond,
            "preemptible": self.preemptible,
            "left_until": left,
        }


def in_turn(connection: Connection, by: Claimant, max_running: int) -> Sequence[str]:
    """Tenants with a job that the claimant can claim, in the order in which they are served.

    Fewest running jobs first; ties go to the longest time since the last claim, then to the oldest next job.
    `max_running`: skip tenants with this many running jobs; 0: no limit.

    Costs a few index look-ups per waiting tenant, regardless of the number of jobs. Uncommitted claims are not seen:
    concurrent claims may serve the same tenant, and later claims balance that.
    """
    return connection.scalars(_turns(), {**by.parameters, "max_running": max_running or UNLIMITED}).all()


def head(connection: Connection, by: Claimant, tenant: str) -> Row[Any] | None:
    """The tenant's next job that the claimant can claim, locked; concurrent claims skip it."""
    return connection.execute(_head(), {**by.parameters, "tenant": tenant}).first()


def count_alike(connection: Connection, by: Claimant, head: Row[Any], limit: int) -> int:
    """How many queued jobs, `head` included, can be trained as one array with it; stops counting at `limit`."""
    return connection.scalar(_count_alike(_key(head)), {**_array_of(by, head), "limit": limit}) or 0


def alike(connection: Connection, by: Claimant, head: Row[Any], width: int) -> Sequence[str]:
    """The ids of the first `width` of these jobs, locked; skips jobs locked by others.

    They have at most `head.row_sets` row sets and fit into the smallest `array_limit` of them; others stay queued.
    """
    ids, keys, limit = list[str](), set[str](), width
    for row in connection.execute(_alike(_key(head)), {**_array_of(by, head), "width": width}):
        known = row.array_key in keys
        if len(ids) < min(limit, row.array_limit) and (known or len(keys) < head.row_sets):
            ids.append(row.id)
            keys.add(row.array_key)
            limit = min(limit, row.array_limit)
    return ids


def _key(head: Row[Any]) -> str:
    """The column that similar jobs share; jobs that an older version submitted share their rows too."""
    return "array_key" if head.shape_key is None else "shape_key"


def _array_of(by: Claimant, head: Row[Any]) -> dict[str, Any]:
    key = head.array_key if head.shape_key is None else head.shape_key
    return {**by.parameters, "tenant": head.tenant, "key": key}


# Cached statements: building one takes longer than running it.


@cache
def _head() -> Select[Any]:
    first = select(
        *(jobs.c[name] for name in ("id", "tenant", "array_key", "shape_key", "row_sets", "array_limit", "failures"))
    )
    return _first(first.where(CLAIMABLE, jobs.c.tenant == bindparam("tenant"))).with_for_update(skip_locked=True)


@cache
def _count_alike(key: str) -> Select[Any]:
    some = (
        select(literal(1))
        .where(CLAIMABLE, *_OF_TENANT, jobs.c[key] == bindparam("key"))
        .limit(bindparam("limit", type_=Integer))
    )
    return select(func.count()).select_from(some.subquery())


@cache
def _alike(key: str) -> Select[Any]:
    alike = CLAIMABLE, *_OF_TENANT, jobs.c[key] == bindparam("key")
    ordered = (
        select(jobs.c.id, jobs.c.array_key, jobs.c.array_limit)
        .where(*alike)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
    )
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
    turns = select(found.c.tenant).where(found.c.head.is_not(None), found.c.running < bindparam("max_running"))
    return turns.order_by(found.c.running, found.c.claimed_at.nulls_first(), found.c.head)


def _first(query: Select[Any]) -> Select[Any]:
    return query.order_by(jobs.c.priority.desc(), jobs.c.id).limit(1)


def _waiting() -> CTE:
    """Tenants with queued jobs, then a NULL: a loose index scan, as Postgres and SQLite have no skip scan."""
    queued = jobs.c.status == Status.queued
    waiting = select(func.min(jobs.c.tenant).label("tenant")).where(queued).cte("waiting", recursive=True)
    following = select(func.min(jobs.c.tenant)).where(queued, jobs.c.tenant > waiting.c.tenant).scalar_subquery()
    return waiting.union_all(select(following).where(waiting.c.tenant.is_not(None)))
