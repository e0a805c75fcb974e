"""Sweeps: their jobs all appear at once, read with the counts and the best of them, cancelled together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, String, and_, case, cast, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.domain.status import LIVE, Status
from service.domain.sweep import Sweep, SweepBest, SweepStatus
from service.errors import IdempotencyMismatch, NotFound
from service.spec.early_stopping import LARGER_IS_BETTER, Monitor
from service.store.ids import new_id
from service.store.jobs.actions import stop
from service.store.jobs.jobs import add, check_queue_limit, new_row, publish_staged
from service.store.schema import datasets, jobs, sweeps
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from service.spec.resolve import Resolved
    from service.spec.sweep import SweepSpec

CHUNK = 200  # jobs in one transaction, for which others wait on SQLite: some 50 ms

# What the sweep's monitor measured at a job's best epoch; `->>` reads JSON alike in SQLite and Postgres.
VALUE: ColumnElement[float] = cast(jobs.c.best_metrics.op("->>", return_type=String())(sweeps.c.monitor), Float)
BEST_FIRST = (
    VALUE.is_(None),
    case((sweeps.c.monitor.in_(sorted(LARGER_IS_BETTER)), -VALUE), else_=VALUE),
    jobs.c.id,
)


@dataclass(frozen=True)
class SweepJob:
    """One job to be: what the sweep changes for it, by dotted name, and all that follows."""

    point: dict[str, Any]
    resolved: Resolved


@dataclass(frozen=True)
class NewSweep:
    """The rows of a sweep and of its jobs, not stored yet: made outside of every transaction, as it takes long."""

    row: dict[str, Any]
    jobs: Sequence[dict[str, Any]]

    @property
    def chunks(self) -> Sequence[Sequence[dict[str, Any]]]:
        """The jobs that are staged before the last transaction, as many at a time as others can wait for."""
        early = self.jobs[: max(len(self.jobs) - CHUNK, 0)]
        return [early[start : start + CHUNK] for start in range(0, len(early), CHUNK)]


def prepare(
    spec: SweepSpec,
    planned: Sequence[SweepJob],
    tenant: str,
    *,
    idempotency_key: str | None = None,
    request_sha256: str | None = None,
) -> NewSweep:
    """Make the rows of a new sweep."""
    row = {
        "id": new_id("swp"),
        "tenant": tenant,
        "name": spec.name,
        "labels": spec.labels,
        "spec": {
            "base": spec.base.model_dump(mode="json", exclude_unset=True),
            **spec.model_dump(mode="json", include={"grid", "points", "replicates", "folds"}),
        },
        "monitor": spec.base.monitor,
        "idempotency_key": idempotency_key,
        "request_sha256": request_sha256,
        "created_at": datetime.now(UTC),
    }
    return NewSweep(row, [{**new_row(job.resolved, tenant), "point": job.point} for job in planned])


def create(connection: Connection, new: NewSweep, *, staged: Sequence[str] = (), max_queued: int) -> tuple[Sweep, bool]:
    """Queue every job, or none; (sweep, False) when this key and request were taken before.

    `staged`: the ids of the first jobs, which `jobs.stage` has stored. Raises QueueFull, IdempotencyMismatch, NotFound
    when a data set has just been deleted, and Unavailable when staged jobs are gone.
    """
    tenant, key = tenant_of(connection), new.row["idempotency_key"]
    try:
        with connection.begin_nested():
            connection.execute(insert(sweeps), new.row)
    except IntegrityError:
        known = key and by_idempotency_key(connection, key, new.row["request_sha256"])
        if not known:
            raise
        return known, False
    check_queue_limit(connection, len(new.jobs), max_queued)
    _need(connection, {job["dataset_id"] for job in new.jobs} - {None})
    publish_staged(connection, staged, tenant, new.row["id"])
    left = [{**job, "sweep_id": new.row["id"]} for job in new.jobs[len(staged) :]]
    for start in range(0, len(left), CHUNK):
        add(connection, left[start : start + CHUNK])
    return get(connection, new.row["id"]), True


def _need(connection: Connection, dataset_ids: Collection[str]) -> None:
    """Keep these data sets from being deleted until the transaction's end; raises NotFound where one is gone."""
    these = select(datasets.c.id).where(in_tenant(connection, datasets), datasets.c.id.in_(list(dataset_ids)))
    held = these.order_by(datasets.c.id).with_for_update(read=True, key_share=True)
    if dataset_ids and len(connection.scalars(held).all()) < len(dataset_ids):
        raise NotFound("the data set is gone")


def by_idempotency_key(connection: Connection, key: str, request_sha256: str | None) -> Sweep | None:
    """The sweep that this Idempotency-Key created, if there is one; raises IdempotencyMismatch for another request."""
    query = select(sweeps).where(in_tenant(connection, sweeps), sweeps.c.idempotency_key == key)
    row = connection.execute(query).first()
    if row is not None and row.request_sha256 != request_sha256:
        raise IdempotencyMismatch
    return None if row is None else _sweeps(connection, [row])[0]


def get(connection: Connection, sweep_id: str) -> Sweep:
    """The sweep of this id; raises NotFound."""
    row = connection.execute(select(sweeps).where(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)).first()
    if row is None:
        raise NotFound(f"no sweep {sweep_id!r}")
    return _sweeps(connection, [row])[0]


def find(connection: Connection, *, limit: int, after: str | None = None) -> list[Sweep]:
    """Sweeps, newest first, at most `limit`, older than the sweep `after`."""
    query = select(sweeps).where(in_tenant(connection, sweeps))
    if after is not None:
        query = query.where(sweeps.c.id < after)
    return _sweeps(connection, connection.execute(query.order_by(sweeps.c.id.desc()).limit(limit)).all())


def last_live(connection: Connection, sweep_id: str) -> str | None:
    """The newest job of the sweep that has not ended; None when all have."""
    live = select(jobs.c.id).where(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id, jobs.c.status.in_(LIVE))
    return connection.scalar(live.order_by(jobs.c.id.desc()).limit(1))


def cancel(connection: Connection, sweep_id: str) -> Sweep:
    """Cancel its waiting jobs at once and ask the running ones to stop; raises NotFound.

    A sweep that has ended stays as it is.
    """
    if stop(connection, and_(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id)):
        this = and_(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)
        connection.execute(update(sweeps).where(this).values(cancelled_at=datetime.now(UTC)))
    return get(connection, sweep_id)


def _sweeps(connection: Connection, rows: Sequence[Row[Any]]) -> list[Sweep]:
    """The records of these rows, with what one statement says of all their jobs: number and best by status."""
    by_status = (jobs.c.sweep_id, jobs.c.status)
    ranked = (
        select(
            *(jobs.c[name] for name in ("id", "sweep_id", "status", "point", "best_epoch", "best_metrics")),
            VALUE.label("value"),
            func.count().over(partition_by=by_status).label("number"),
            func.row_number().over(partition_by=by_status, order_by=BEST_FIRST).label("rank"),
        )
        .join(sweeps, sweeps.c.id == jobs.c.sweep_id)
        .where(in_tenant(connection, jobs, sweeps), jobs.c.sweep_id.in_([row.id for row in rows]))
        .subquery()
    )
    leaders: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for leader in connection.execute(select(ranked).where(ranked.c.rank == 1)):
        leaders[leader.sweep_id].append(leader)
    return [_sweep(row, leaders[row.id]) for row in rows]


def _sweep(row: Row[Any], leaders: list[Row[Any]]) -> Sweep:
    """`leaders`: the best job of each status, with the number of jobs that have it."""
    counts = dict.fromkeys(Status, 0) | {Status(leader.status): leader.number for leader in leaders}
    if any(counts[status] for status in LIVE):
        status = SweepStatus.running
    elif row.cancelled_at is not None and counts[Status.cancelled]:
        status = SweepStatus.cancelled
    else:
        status = SweepStatus.finished
    return Sweep(
        **{name: row._mapping[name] for name in ("id", "name", "labels", "monitor", "created_at")},
        **row.spec,
        status=status,
        jobs=sum(counts.values()),
        counts=counts,
        best=_best(Monitor(row.monitor), leaders),
    )


def _best(monitor: Monitor, leaders: list[Row[Any]]) -> SweepBest | None:
    valued = [leader for leader in leaders if leader.value is not None]
    if not valued:
        return None
    sign = -1.0 if monitor.larger_is_better else 1.0
    best = min(valued, key=lambda leader: (sign * leader.value, leader.id))
    return SweepBest(
        job=best.id,
        point=best.point,
        epoch=best.best_epoch,
        monitor=monitor,
        value=best.value,
        metrics=best.best_metrics,
    )
