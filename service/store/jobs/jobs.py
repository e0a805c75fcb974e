"""Jobs as clients see them: submit, read, find, delete. Workers use `claim`, `leases` and `attempt`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.domain.checkpoint import CheckpointKind, CheckpointRef
from service.domain.job import Best, Forked, Job, Progress
from service.domain.status import ENDED, Status
from service.errors import Conflict, IdempotencyMismatch, NotFound, QueueFull, Unavailable
from service.spec.data import DatasetData
from service.spec.job import EPOCH_LIMIT_VERSION, version_needed
from service.spec.limits import file_bytes_of
from service.spec.preemption import suits_preemptible
from service.store import decisions
from service.store.engine import allow_long_statements
from service.store.ids import new_id
from service.store.jobs import events, resolutions
from service.store.jobs.job_filter import ALL_JOBS, JobFilter
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import files_of, referenced
from service.store.notifications import tell_workers
from service.store.schema import NO_TENANT, STAGED, checkpoints, jobs
from service.store.tenancy import CachedSelect, in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from service.spec.resolve import Resolved

MAX_POSITION = 1_000  # of queue positions; counting further takes long
CHUNK = 1_000  # jobs in one statement

_best = checkpoints.alias("best")
_READ = [column for column in jobs.c if column is not jobs.c.resolved]  # large, and only for trainers
_SELECT: Select[Any] = select(
    *_READ, _best.c.epoch.label("ckpt_epoch"), _best.c.sha256, _best.c.size_bytes, _best.c.path
).select_from(jobs.outerjoin(_best, and_(_best.c.job_id == jobs.c.id, _best.c.kind == CheckpointKind.best)))

_ONE = CachedSelect(_SELECT.where(jobs.c.id == bindparam("id")), jobs)
_EXISTS = CachedSelect(select(literal(1)).where(jobs.c.id == bindparam("id")), jobs)
_VERSIONS = CachedSelect(
    select(jobs.c.id, jobs.c.version, jobs.c.status).where(jobs.c.id.in_(bindparam("ids", expanding=True))), jobs
)
_older = and_(jobs.c.priority == bindparam("priority"), jobs.c.id < bindparam("id"))
_queued = and_(jobs.c.status == "queued", jobs.c.tenant == bindparam("tenant"))
_ahead = select(literal(1)).where(_queued, or_(jobs.c.priority > bindparam("priority"), _older))
_AHEAD = select(func.count()).select_from(_ahead.limit(MAX_POSITION - 1).subquery())


def download_url(job_id: str, kind: str) -> str:
    """URL path of a checkpoint's file."""
    return f"/v1/jobs/{job_id}/checkpoints/{kind}/download"


def submit(
    connection: Connection,
    resolved: Resolved,
    *,
    max_queued: int,
    idempotency_key: str | None = None,
    request_sha256: str | None = None,
    forked: Forked | None = None,
) -> tuple[Job, bool]:
    """Queue a job; (job, False) when this Idempotency-Key and request were accepted before.

    Raises QueueFull, IdempotencyMismatch, and NotFound when the data set was deleted meanwhile.
    """
    if idempotency_key and (known := by_idempotency_key(connection, idempotency_key, request_sha256)):
        return known, False
    check_queue_limit(connection, 1, max_queued)
    row = {
        **new_row(resolved, tenant_of(connection)),
        "idempotency_key": idempotency_key,
        "request_sha256": request_sha256,
        "forked": forked and forked.model_dump(mode="json"),
    }
    try:
        with connection.begin_nested():
            add(connection, [row])
    except IntegrityError as error:
        if idempotency_key and (known := by_idempotency_key(connection, idempotency_key, request_sha256)):
            return known, False
        raise NotFound("the data set was deleted") from error
    return get(connection, row["id"]), True


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new jobs, made by `new_row`, into the queue."""
    connection.execute(insert(jobs), resolutions.stored(connection, rows))
    events.append_first(connection, [(row["id"], row["tenant"], _first_message(row.get("forked"))) for row in rows])
    tell_workers(connection)


def stage(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store new jobs that nobody sees before `publish_staged`: they have no tenant, and a status that no query names.

    Raises NotFound when a data set was deleted meanwhile.
    """
    try:
        ready = resolutions.stored(connection, rows)
        connection.execute(insert(jobs), [{**row, "tenant": NO_TENANT, "status": STAGED} for row in ready])
    except IntegrityError as error:
        raise NotFound("the data set was deleted") from error
    events.append_first(connection, [(row["id"], row["tenant"], _first_message(row.get("forked"))) for row in rows])


def publish_staged(connection: Connection, job_ids: Sequence[str], tenant: str, sweep_id: str) -> None:
    """Move staged jobs into the queue; raises Unavailable if some were deleted as abandoned."""
    values = {"tenant": tenant, "sweep_id": sweep_id, "status": Status.queued}
    for start in range(0, len(job_ids), CHUNK):
        these = and_(jobs.c.id.in_(job_ids[start : start + CHUNK]), jobs.c.tenant == NO_TENANT, jobs.c.status == STAGED)
        if connection.execute(update(jobs).where(these).values(values)).rowcount < len(job_ids[start : start + CHUNK]):
            raise Unavailable("the jobs took too long to store; try again")
    tell_workers(connection)


def discard_staged(connection: Connection, job_ids: Sequence[str]) -> None:
    """Delete these staged jobs."""
    these = and_(jobs.c.id.in_(job_ids), jobs.c.tenant == NO_TENANT, jobs.c.status == STAGED)
    connection.execute(delete(jobs).where(these))


def _first_message(forked: Mapping[str, Any] | None) -> str:
    return f"forked from epoch {forked['epoch']} of {forked['job']}" if forked else "submitted"


def check_queue_limit(connection: Connection, wanted: int, max_queued: int) -> None:
    """Raises QueueFull if `wanted` more jobs would exceed `max_queued` queued and paused jobs of the tenant."""
    limit = max(max_queued - wanted + 1, 0)
    waiting = jobs.c.status.in_([Status.queued, Status.paused])
    queued = select(literal(1)).where(in_tenant(connection, jobs), waiting).limit(limit)
    if connection.scalar(select(func.count()).select_from(queued.subquery())) == limit:
        raise QueueFull(
            f"the queue is limited to {max_queued:,} jobs, with no room for {wanted:,} more; try again later"
        )


def new_row(
    resolved: Resolved, tenant: str, *, trial: int | None = None, epoch_limit: int | None = None
) -> dict[str, Any]:
    """The row of a new job, with a new id, for `add` or `stage`; a search gives it `trial` and `epoch_limit`."""
    spec = resolved.spec
    version = version_needed(spec)
    return {
        "id": new_id("job"),
        "tenant": tenant,
        "name": spec.name,
        "labels": spec.labels,
        "spec": spec.model_dump(mode="json"),
        "spec_version": version if epoch_limit is None else max(version, EPOCH_LIMIT_VERSION),
        "resolved": resolved,
        "warnings": [warning.model_dump() for warning in resolved.warnings],
        "dataset_id": spec.data.id if isinstance(spec.data, DatasetData) else None,
        "array_key": resolved.array_key,
        "shape_key": resolved.shape_key,
        "row_sets": resolved.row_sets,
        "array_limit": resolved.array_limit,
        "priority": spec.priority,
        "device_request": spec.device,
        "worker_labels": spec.worker.text,
        "suits_preemptible": suits_preemptible(resolved),
        "ranks": spec.devices,
        "max_epochs": spec.max_epochs,
        "monitor": resolved.monitor,
        "expected_bytes": file_bytes_of(resolved),
        "trial": trial,
        "epoch_limit": epoch_limit,
        "status": Status.queued,
        "created_at": datetime.now(UTC),
    }


def by_idempotency_key(connection: Connection, key: str, request_sha256: str | None) -> Job | None:
    """The job that this Idempotency-Key created, if there is one; raises IdempotencyMismatch for another request."""
    row = connection.execute(_SELECT.where(in_tenant(connection, jobs), jobs.c.idempotency_key == key)).first()
    if row is not None and row.request_sha256 != request_sha256:
        raise IdempotencyMismatch
    return None if row is None else _job(connection, row)


def get(connection: Connection, job_id: str) -> Job:
    """The job of this id; raises NotFound."""
    row = _ONE.execute(connection, id=job_id).first()
    if row is None:
        raise NotFound(f"no job {job_id!r}")
    return _job(connection, row)


def require(connection: Connection, job_id: str) -> None:
    """Raise NotFound unless there is a job of this id: one look into the primary key, without reading the job."""
    if _EXISTS.execute(connection, id=job_id).first() is None:
        raise NotFound(f"no job {job_id!r}")


def find(connection: Connection, which: JobFilter = ALL_JOBS, *, limit: int, after: str | None = None) -> list[Job]:
    """Jobs that match the filter, newest first, at most `limit`, older than the job `after`."""
    query = _SELECT.where(in_tenant(connection, jobs))
    if after is not None:
        query = query.where(jobs.c.id < after)
    rows = connection.execute(which.apply(query).order_by(jobs.c.id.desc()).limit(limit)).all()
    return [_job(connection, row) for row in rows]


def versions(connection: Connection, job_ids: Iterable[str]) -> dict[str, tuple[int, Status]]:
    """(version, status) of each of these jobs that exists, in one query."""
    return {row.id: (row.version, Status(row.status)) for row in _VERSIONS.execute(connection, ids=list(job_ids))}


def remove(connection: Connection, job_id: str) -> None:
    """Delete an ended job with its history and files, which are garbage-collected later.

    Raises NotFound, and Conflict while the job is live, or its sweep has decisions due.
    """
    decisions.refuse_if_awaited(connection, job_id)
    allow_long_statements(connection)  # a job may have a million epochs
    paths = files_of(connection, [job_id])
    ended = and_(in_tenant(connection, jobs), jobs.c.id == job_id, jobs.c.status.in_(ENDED))
    if connection.execute(delete(jobs).where(ended)).rowcount == 0:
        raise Conflict(f"the job is {get(connection, job_id).status.value}; cancel it first")
    garbage.discard(connection, paths - referenced(connection, paths))


def lock(connection: Connection, which: ColumnElement[bool]) -> Sequence[str]:
    """Lock these jobs in the order of their ids until the transaction ends; returns the ids.

    Whatever updates several jobs calls this first: an UPDATE locks rows in any order, and two of them could deadlock
    on Postgres. Lock order between tables: sweeps, data sets, jobs.
    """
    return connection.scalars(select(jobs.c.id).where(which).order_by(jobs.c.id).with_for_update()).all()


def with_next_version(**values: Any) -> dict[str, Any]:
    """`values` and an incremented version, by which watchers notice the change."""
    return {**values, "version": jobs.c.version + 1}


def _position(connection: Connection, row: Row[Any]) -> int:
    """Position among the queued jobs of its tenant."""
    return 1 + (connection.scalar(_AHEAD, {"tenant": row.tenant, "priority": row.priority, "id": row.id}) or 0)


def _job(connection: Connection, row: Row[Any]) -> Job:
    live = row.status == Status.running
    fields = dict(row._mapping)
    return Job.model_validate(
        {
            **{name: fields[name] for name in Job.model_fields.keys() & fields.keys()},
            "sweep": row.sweep_id,
            "progress": Progress(
                epoch=row.epoch, max_epochs=row.max_epochs, eta_seconds=row.eta_seconds if live else None
            ),
            "best": _best_of(row),
            "test": None if row.test_metrics is None else {"metrics": row.test_metrics},
            "queue_position": _position(connection, row) if row.status == Status.queued else None,
        }
    )


def _best_of(row: Row[Any]) -> Best | None:
    if row.best_epoch is None:
        return None
    reference = None
    if row.path is not None:
        reference = CheckpointRef(
            epoch=row.ckpt_epoch,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            path=row.path,
            download_url=download_url(row.id, CheckpointKind.best),
        )
    return Best(
        epoch=row.best_epoch,
        monitor=row.monitor,
        value=row.best_value,
        metrics=row.best_metrics or {},
        checkpoint=reference,
    )
