"""Statements of claims: the first claimable job of each class and tenant, and the classes of a tenant merged in order.

They are cached, because building one takes longer than running it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    String,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.store.schema import jobs

if TYPE_CHECKING:
    from sqlalchemy import CTE, ColumnElement, CompoundSelect, FromClause, Select

KNOWN = jobs.c.spec_version <= SPEC_VERSION  # newer specs stay queued for a newer worker
CLASS = "device_request", "worker_labels", "suits_preemptible", "ranks", "spec_version"
_QUEUED: ColumnElement[str] = literal_column("'queued'")  # a parameter would not match the partial indexes
_LATER_CLASS = "suits_preemptible", "ranks", "spec_version", "tenant"  # after device and labels, as in `ix_jobs_class`
_FOUND = "id", "tenant", "array_key", "shape_key", "row_sets", "array_limit", "failures"


@cache
def heads(devices: int, labels: int, *, postgres: bool) -> Select[Any]:
    """The first claimable job of each class and tenant; ordered by tenant, then as claimed.

    Parameters: `devices0`, ... and `labels0`, ..., so many; those of a claimant.
    """
    found = _heads(devices, labels)
    # Postgres knows nothing of the number of these ids, and may read all jobs to join them; an array is looked up.
    these = jobs.c.id == func.any(func.array(found.scalar_subquery())) if postgres else jobs.c.id.in_(found)
    suited = or_(jobs.c.ranks <= bindparam("ranks"), jobs.c.ranks > bindparam("beyond"))
    query = select(*_of(jobs, ("id", "tenant", "priority", *CLASS))).where(these, suited, KNOWN, ~_is_left(jobs))
    return query.order_by(jobs.c.tenant, *_order(jobs))


def _heads(devices: int, labels: int) -> Select[Any]:
    """Ids of the first job of each class and tenant, and of some that are not claimable: a loose scan of
    `ix_jobs_class`, as Postgres and SQLite have no skip scan.

    In a class whose jobs are left to other workers for a while, goes on to lower priorities: older ones may be there.
    """
    device, text = _listed("devices", devices), _listed("labels", labels)
    later, job = jobs.alias("later"), jobs.alias("job")
    these = later.c.status == _QUEUED, later.c.device_request == device.c.value, later.c.worker_labels == text.c.value
    begin = select(later.c.id).where(*these).order_by(*_of(later, _LATER_CLASS), *_order(later)).limit(1)
    found = select(begin.scalar_subquery().label("id")).join_from(device, text, true()).cte("heads", recursive=True)
    asked = [later.c[name] == job.c[name] for name in ("device_request", "worker_labels")]

    def after(same: int, further: ColumnElement[bool]) -> ColumnElement[str]:
        equal = [later.c[name] == job.c[name] for name in _LATER_CLASS[:same]]
        query = select(later.c.id).where(later.c.status == _QUEUED, *asked, *equal, further)
        ordered = query.order_by(*_of(later, _LATER_CLASS[same:]), *_order(later)).limit(1)
        return ordered.correlate(job).scalar_subquery()

    # One column after the other: SQLite compares whole rows, (a, b) > (c, d), without skipping equal ones.
    others = [after(same, later.c[_LATER_CLASS[same]] > job.c[_LATER_CLASS[same]]) for same in (3, 2, 1, 0)]
    lower = case((_is_left(job), after(4, later.c.priority < job.c.priority)))
    step = select(func.coalesce(lower, *others)).where(job.c.id == found.c.id).correlate(found).scalar_subquery()
    every = found.union_all(select(step).where(found.c.id.is_not(None)))
    return select(every.c.id).where(every.c.id.is_not(None))


@cache
def served() -> Select[Any]:
    """For each of the jobs `ids`: its tenant's number of running jobs, and the time of its last claim, if any."""
    other = jobs.alias("other")
    mine = other.c.tenant == jobs.c.tenant
    running = select(func.count()).where(mine, other.c.status == Status.running).correlate(jobs).scalar_subquery()
    claimed_at = select(func.max(other.c.started_at)).where(mine).correlate(jobs).scalar_subquery()
    return select(jobs.c.tenant, running.label("running"), claimed_at.label("claimed_at")).where(
        jobs.c.id.in_(bindparam("ids", expanding=True))
    )


def _is_left(job: FromClause) -> ColumnElement[bool]:
    """Whether the job is left to the other class of workers for a while."""
    return and_(job.c.suits_preemptible != bindparam("preemptible"), job.c.id >= bindparam("left_until"))


@cache
def first(classes: int, key: str | None, *, leaves: bool) -> Select[Any]:
    """The first jobs of a tenant's classes in the order of claims, locked; skips jobs locked by others.

    `key`: the column that the jobs share with the parameter `key`. `leaves`: some are left to other workers for a
    while. Parameters: those of a `Turn`; `limit`, the number of jobs; `most`, of each class, locked or not.
    """
    found = _merged(classes, key, leaves).subquery("merged")
    query = select(*_of(jobs, _FOUND)).join_from(found, jobs, jobs.c.id == found.c.id)
    queued = query.where(jobs.c.status == _QUEUED)  # once more, after the row's lock
    limited = queued.order_by(*_order(found)).limit(bindparam("limit", type_=Integer))
    return limited.with_for_update(of=jobs, skip_locked=True)


@cache
def count(classes: int, key: str, *, leaves: bool) -> Select[Any]:
    """How many jobs there are, at most `most` of each class; takes no lock. Parameters: those of `first`."""
    return select(func.count()).select_from(_merged(classes, key, leaves).subquery("merged"))


def _merged(classes: int, key: str | None, leaves: bool) -> CompoundSelect[Any]:
    return union_all(*(_of_class(number, key, leaves) for number in range(classes)))


def _of_class(number: int, key: str | None, leaves: bool) -> Select[Any]:
    """The first claimable jobs of one of the classes; with `key`, of those that have never crashed.

    Each has a limit of its own: without it, Postgres may read all jobs of all classes, and sort them.
    """
    these = [jobs.c[name] == bindparam(f"{name}{number}") for name in CLASS]
    query = select(jobs.c.id, jobs.c.priority).where(
        jobs.c.status == _QUEUED, jobs.c.tenant == bindparam("tenant"), *these
    )
    if leaves:
        query = query.where(jobs.c.priority <= bindparam(f"priority{number}"), jobs.c.id < bindparam(f"before{number}"))
    if key is not None:
        query = query.where(jobs.c[key] == bindparam("key"), jobs.c.failures == literal_column("0"))
    found = query.order_by(*_order(jobs)).limit(bindparam("most", type_=Integer)).subquery(f"of{number}")
    return select(found.c.id, found.c.priority)


def _listed(name: str, count: int) -> CTE:
    """A table of the parameters `name0`, ..., so many, in its column `value`."""
    values = (select(bindparam(f"{name}{number}", type_=String).label("value")) for number in range(count))
    return union_all(*values).cte(name)


def _of(table: FromClause, names: tuple[str, ...]) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in names]


def _order(table: FromClause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return table.c.priority.desc(), table.c.id
