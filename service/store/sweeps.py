"""Sweeps: created with all their jobs at once, read with counts and the best job, cancelled together."""

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
from service.store.decisions import record
from service.store.ids import new_id
from service.store.jobs.actions import cancel_all
from service.store.jobs.dataset_locks import lock_datasets
from service.store.jobs.jobs import add, check_queue_limit, new_row, publish_staged
from service.store.schema import jobs, sweeps
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from service.domain.sweep import NewDecision
    from service.spec.resolve import Resolved
    from service.spec.sweep import SweepSpec

STORED = {
    "grid",
    "points",
    "search",
    "replicates",
    "folds",
    "repeats",
    "preset",
    "model",
    "select",
}  # fields beside the base
FIELDS = ("id", "name", "labels", "monitor", "retrains", "pending", "published", "error", "created_at")
CHUNK = 200  # jobs in one transaction: holds SQLite's write lock for about 50 ms

# The monitored metric at a job's best epoch; SQLite and Postgres share `->>`.
VALUE: ColumnElement[float] = cast(jobs.c.best_metrics.op("->>", return_type=String())(sweeps.c.monitor), Float)
BEST_FIRST = (
    VALUE.is_(None),
    case((sweeps.c.monitor.in_(sorted(LARGER_IS_BETTER)), -VALUE), else_=VALUE),
    jobs.c.id,
)


@dataclass(frozen=True)
class SweepJob:
    """A job to be submitted: its point (changed fields, by dotted name) and its resolved spec."""

    point: dict[str, Any]
    resolved: Resolved
    trial: int | None = None
    epoch_limit: int | None = None


@dataclass(frozen=True)
class NewSweep:
    """Rows of a new sweep and its jobs, built outside of transactions, as that takes long."""

    row: dict[str, Any]
    jobs: Sequence[dict[str, Any]]
    decisions: Sequence[NewDecision] = ()

    @property
    def chunks(self) -> Sequence[Sequence[dict[str, Any]]]:
        """The jobs to be staged before the last transaction, in chunks of one transaction each."""
        early = self.jobs[: max(len(self.jobs) - CHUNK, 0)]
        return [early[start : start + CHUNK] for start in range(0, len(early), CHUNK)]


def prepare(
    spec: SweepSpec,
    planned: Sequence[SweepJob],
    tenant: str,
    *,
    idempotency_key: str | None = None,
    request_sha256: str | None = None,
    retrains: str | None = None,
    recipes: str | None = None,
    key: str | None = None,
    decisions: Sequence[NewDecision] = (),
) -> NewSweep:
    """Build the rows of a new sweep.

    `retrains`: the job that it retrains; `recipes`: their version, of a preset; `key`: the id of the caller's API key;
    `decisions`: those of a search that propose its first trials.
    """
    row = {
        "id": new_id("swp"),
        "tenant": tenant,
        "name": spec.name,
        "labels": spec.labels,
        "spec": {
            "base": spec.base.model_dump(mode="json", exclude_unset=True),
            **spec.model_dump(mode="json", include=STORED),
            **spec.model_dump(mode="json", include={"space"}, exclude_unset=True),
            "recipes": recipes,
            "select": spec.selection if spec.model else None,
        },
        "monitor": spec.base.monitor,
        "idempotency_key": idempotency_key,
        "request_sha256": request_sha256,
        "retrains": retrains,
        "key": key,
        "pending": spec.model is not None or spec.search is not None,
        "created_at": datetime.now(UTC),
    }
    return NewSweep(row, [row_of(job, tenant) for job in planned], decisions)


def row_of(job: SweepJob, tenant: str) -> dict[str, Any]:
    """The row of a job of a sweep, without the sweep's id."""
    row = new_row(job.resolved, tenant, trial=job.trial, epoch_limit=job.epoch_limit)
    return {**row, "point": job.point}


def create(connection: Connection, new: NewSweep, *, staged: Sequence[str] = (), max_queued: int) -> tuple[Sweep, bool]:
    """Queue all jobs or none; (sweep, False) when this Idempotency-Key and request were accepted before.

    `staged`: the ids of the first jobs, which `jobs.stage` has stored. Raises QueueFull, IdempotencyMismatch, NotFound
    when a data set was deleted meanwhile, and Unavailable when staged jobs were deleted.
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
    lock_datasets(connection, {job["dataset_id"] for job in new.jobs} - {None})
    publish_staged(connection, staged, tenant, new.row["id"])
    left = [{**job, "sweep_id": new.row["id"]} for job in new.jobs[len(staged) :]]
    for start in range(0, len(left), CHUNK):
        add(connection, left[start : start + CHUNK])
    record(connection, new.row["id"], 0, new.decisions)
    return get(connection, new.row["id"]), True


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


def require(connection: Connection, sweep_id: str) -> None:
    """Raise NotFound unless there is a sweep of this id."""
    if connection.scalar(select(sweeps.c.id).where(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)) is None:
        raise NotFound(f"no sweep {sweep_id!r}")


def find(connection: Connection, *, limit: int, after: str | None = None) -> list[Sweep]:
    """Sweeps, newest first, at most `limit`, older than the sweep `after`."""
    query = select(sweeps).where(in_tenant(connection, sweeps))
    if after is not None:
        query = query.where(sweeps.c.id < after)
    return _sweeps(connection, connection.execute(query.order_by(sweeps.c.id.desc()).limit(limit)).all())


def newest_live(connection: Connection, sweep_id: str) -> str | None:
    """The newest job of the sweep that has not ended; None when all have."""
    live = select(jobs.c.id).where(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id, jobs.c.status.in_(LIVE))
    return connection.scalar(live.order_by(jobs.c.id.desc()).limit(1))


def cancel(connection: Connection, sweep_id: str) -> Sweep:
    """Cancel all live jobs of the sweep, as `actions.cancel` does; raises NotFound.

    A finished sweep stays as it is.
    """
    this = and_(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)
    # First, so that the jobs of a step that is being stored are cancelled too, and no step follows.
    awaited = connection.execute(update(sweeps).where(this, sweeps.c.pending).values(pending=False)).rowcount
    if cancel_all(connection, and_(in_tenant(connection, jobs), jobs.c.sweep_id == sweep_id)) or awaited:
        connection.execute(update(sweeps).where(this).values(cancelled_at=datetime.now(UTC)))
    return get(connection, sweep_id)


def _sweeps(connection: Connection, rows: Sequence[Row[Any]]) -> list[Sweep]:
    """The records of these rows; one statement reads the counts and best jobs of all of them."""
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
    """`leaders`: for each status, the best job and the number of jobs."""
    counts = dict.fromkeys(Status, 0) | {Status(leader.status): leader.number for leader in leaders}
    if row.pending or any(counts[status] for status in LIVE):
        status = SweepStatus.running
    elif row.cancelled_at is not None and (counts[Status.cancelled] or _was_undecided(row)):
        status = SweepStatus.cancelled
    else:
        status = SweepStatus.finished
    return Sweep(
        **{name: row._mapping[name] for name in FIELDS},
        **row.spec,
        status=status,
        jobs=sum(counts.values()),
        counts=counts,
        best=_best(Monitor(row.monitor), leaders),
    )


def _was_undecided(row: Row[Any]) -> bool:
    """Whether decisions were due when the sweep was cancelled."""
    decides = row.spec.get("search") is not None or row.spec.get("model") is not None
    return decides and row.published is None and row.error is None


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
