"""Writes of running attempts: epochs, checkpoints, releases and ends of jobs.

Every write is fenced: it names the job and the attempt, and matches no row once another attempt owns the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, case, delete, insert, or_, select, tuple_, update

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import JobError
from service.domain.status import Control, Status, StopReason
from service.errors import LeaseLost
from service.store import job_files
from service.store.epoch_limits import at_epoch_limit
from service.store.jobs import events
from service.store.jobs.events import NewEvent, ended
from service.store.jobs.jobs import with_next_version
from service.store.maintenance import garbage
from service.store.schema import checkpoints, epochs, jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Connection, Row

    from service.domain.checkpoint import Checkpoint
    from service.domain.epoch import Epoch
    from service.domain.job_file import JobFile

RELEASED: dict[str, Any] = {"worker": None, "lease_until": None, "lease_boot": None, "eta_seconds": None}
_OWNED = and_(jobs.c.id == bindparam("job"), jobs.c.attempt == bindparam("fence"), jobs.c.status == Status.running)
_RECORDED = bindparam("recorded", type_=Integer)
_FURTHER = jobs.c.furthest_epoch < _RECORDED
# An epoch beyond those of all earlier attempts is progress, and resets the count of crashes.
_PROGRESS = {
    "failures": case((_FURTHER, 0), else_=jobs.c.failures),
    "furthest_epoch": case((_FURTHER, _RECORDED), else_=jobs.c.furthest_epoch),
}


@dataclass(frozen=True)
class BestSoFar:
    """The best epoch of a job."""

    epoch: int
    value: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """How an attempt ends a job."""

    status: Status
    stop_reason: StopReason | None = None
    test: dict[str, float | None] | None = None
    error: JobError | None = None


@dataclass(frozen=True)
class AttemptRecord:
    """What one attempt records about its job in one transaction."""

    job_id: str
    attempt: int
    rows: Sequence[Epoch] = ()
    best: BestSoFar | None = None  # written together with `rows` or `back_to`
    eta_seconds: float | None = None
    replace: bool = True  # first delete stored epochs from the first of `rows` on: an earlier attempt or try left them
    back_to: int | None = None  # training resumes after this epoch: delete all later ones
    published: Sequence[Checkpoint] = ()  # their files are already stored
    files: Sequence[JobFile] = ()  # already stored, of a job that ends
    dropped: frozenset[CheckpointKind] = frozenset()  # kinds of checkpoints to delete
    events: Sequence[NewEvent] = ()
    outcome: Outcome | None = None  # ends the job

    @property
    def reached(self) -> int | None:
        """The job's last epoch after this write; None: unchanged."""
        return self.rows[-1].epoch if self.rows else self.back_to

    @property
    def stale(self) -> int | None:
        """Stored epochs from this one on are deleted; None: none are."""
        if self.back_to is not None:
            return self.back_to + 1
        return self.rows[0].epoch if self.rows and self.replace else None


@dataclass(frozen=True)
class WriteResult:
    """Result of `write`."""

    controls: dict[str, Control | None]  # pending requests of the jobs that their attempts still own; others are lost
    replaced: frozenset[str]  # artifact keys of replaced and dropped checkpoints: now garbage


def write(connection: Connection, device: str, records: Sequence[AttemptRecord]) -> WriteResult:
    """Write these records in a few statements; skips jobs that their attempts no longer own."""
    owned = _lock(connection, records)
    kept = [record for record in records if record.job_id in owned]
    tenants = {job_id: row.tenant for job_id, row in owned.items()}
    _progress(connection, device, kept)
    _history(connection, kept, tenants)
    replaced = _drop(connection, [(record.job_id, kind) for record in kept for kind in record.dropped])
    files = [(record.job_id, file) for record in kept for file in record.published]
    replaced |= _publish(connection, files, tenants)
    job_files.add(connection, [(record.job_id, file) for record in kept for file in record.files], tenants)
    garbage.discard(connection, replaced)
    _finish(connection, kept)
    events.append(connection, [event for record in kept for event in _events(record)])
    controls = {job_id: row.control and Control(row.control) for job_id, row in owned.items()}
    return WriteResult(controls, replaced)


def _lock(connection: Connection, records: Sequence[AttemptRecord]) -> dict[str, Row[Any]]:
    """Lock the jobs that these attempts still own, until the transaction ends; on SQLite, all writers wait anyway."""
    attempts = {record.job_id: record.attempt for record in records}
    wanted = select(jobs.c.id, jobs.c.tenant, jobs.c.attempt, jobs.c.control).where(
        jobs.c.id.in_(list(attempts)), jobs.c.status == Status.running
    )
    found: Iterable[Row[Any]] = connection.execute(wanted.order_by(jobs.c.id).with_for_update())
    return {row.id: row for row in found if row.attempt == attempts[row.id]}


def _progress(connection: Connection, device: str, records: Sequence[AttemptRecord]) -> None:
    fenced = update(jobs).where(_OWNED)
    fresh = [_key(record) for record in records if record.reached is None]
    if fresh:
        connection.execute(fenced.values(with_next_version(device=device)), fresh)
    names = ("epoch", "eta_seconds", "best_epoch", "best_value", "best_metrics")
    moved = [
        {
            **_key(record),
            "new_epoch": record.reached,
            "new_eta_seconds": record.eta_seconds,
            "new_best_epoch": record.best and record.best.epoch,
            "new_best_value": record.best and record.best.value,
            "new_best_metrics": record.best and record.best.metrics,
            "recorded": record.rows[-1].epoch if record.rows else 0,
        }
        for record in records
        if record.reached is not None
    ]
    if moved:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
        connection.execute(fenced.values(with_next_version(device=device, **values, **_PROGRESS)), moved)


def _history(connection: Connection, records: Sequence[AttemptRecord], tenants: Mapping[str, str]) -> None:
    for record in records:
        if record.stale is not None:
            old = and_(epochs.c.job_id == record.job_id, epochs.c.epoch >= record.stale)
            connection.execute(delete(epochs).where(old))
    rows = [
        {"job_id": record.job_id, "tenant": tenants[record.job_id], **row.model_dump()}
        for record in records
        for row in record.rows
    ]
    if rows:
        connection.execute(insert(epochs), rows)


def _drop(connection: Connection, kinds: Sequence[tuple[str, CheckpointKind]]) -> frozenset[str]:
    """Delete these checkpoints (job, kind); returns their artifact keys."""
    if not kinds:
        return frozenset()
    these = tuple_(checkpoints.c.job_id, checkpoints.c.kind).in_(kinds)
    return frozenset(connection.scalars(delete(checkpoints).where(these).returning(checkpoints.c.path)))


def _publish(
    connection: Connection, files: Sequence[tuple[str, Checkpoint]], tenants: Mapping[str, str]
) -> frozenset[str]:
    """Store the rows of new checkpoints; returns the artifact keys of those that they replace."""
    if not files:
        return frozenset()
    old = _drop(connection, [(job_id, file.kind) for job_id, file in files])
    rows = [
        {"job_id": job_id, "tenant": tenants[job_id], **file.model_dump(exclude={"download_url"})}
        for job_id, file in files
    ]
    connection.execute(insert(checkpoints), rows)
    return old - {file.path for _, file in files}


def finish(connection: Connection, job_id: str, attempt: int, outcome: Outcome) -> None:
    """End the job, with nothing else to write; raises LeaseLost when another attempt owns it."""
    record = AttemptRecord(job_id, attempt, outcome=outcome)
    if _finish(connection, [record]) == 0:
        raise LeaseLost
    events.append(connection, list(_events(record)))


def _finish(connection: Connection, records: Sequence[AttemptRecord]) -> int:
    """End the jobs of the records that have an outcome; returns the number of jobs ended."""
    ends = [
        {
            **_key(record),
            "new_status": record.outcome.status,
            "new_stop_reason": record.outcome.stop_reason,
            "new_test_metrics": record.outcome.test,
            "new_error": record.outcome.error and record.outcome.error.model_dump(mode="json"),
        }
        for record in records
        if record.outcome is not None
    ]
    if not ends:
        return 0
    values: dict[str, Any] = {
        name: bindparam(f"new_{name}") for name in ("status", "stop_reason", "test_metrics", "error")
    }
    cleared = dict.fromkeys(("control", "lease_until", "lease_boot", "eta_seconds"))  # `worker` stays
    end = with_next_version(finished_at=datetime.now(UTC), **values, **cleared)
    return connection.execute(update(jobs).where(_OWNED).values(end), ends).rowcount


def release(connection: Connection, job_id: str, attempt: int) -> None:
    """Requeue the job as its worker stops, pause it at its epoch limit, or pause or cancel it as a client has asked.

    Raises LeaseLost.
    """
    cancelled, limited = jobs.c.control == Control.cancel, at_epoch_limit()
    paused = or_(jobs.c.control == Control.pause, limited)
    values = with_next_version(
        status=case((cancelled, Status.cancelled), (paused, Status.paused), else_=Status.queued),
        stop_reason=case((cancelled, StopReason.cancelled), else_=None),
        finished_at=case((cancelled, datetime.now(UTC)), else_=None),
        control=None,
        **RELEASED,
    )
    statement = update(jobs).where(owned_by(job_id, attempt)).values(values)
    job = connection.execute(statement.returning(jobs.c.status, jobs.c.epoch, limited.label("limited"))).first()
    if job is None:
        raise LeaseLost
    details = {"epoch": job.epoch}
    if job.status == Status.cancelled:
        event = ended(job_id, Status.cancelled, StopReason.cancelled)
    elif job.status == Status.paused:
        why = ", its limit until its sweep decides" if job.limited else ""
        event = NewEvent(job_id, EventKind.paused, f"paused after epoch {job.epoch}{why}", details)
    else:
        message = f"requeued after epoch {job.epoch}: worker stopping"
        event = NewEvent(job_id, EventKind.released, message, details)
    events.append(connection, [event])


def owned_by(job_id: str, attempt: int) -> ColumnElement[bool]:
    """The job, if this attempt still owns it."""
    return and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == Status.running)


def _events(record: AttemptRecord) -> Iterator[NewEvent]:
    """The events of this write."""
    yield from record.events
    for file in record.published:
        if file.kind is CheckpointKind.best:
            value = record.best.value if record.best else None
            details = {"epoch": file.epoch, "value": value}
            yield NewEvent(record.job_id, EventKind.best, f"best checkpoint of epoch {file.epoch} published", details)
    if record.outcome is not None:
        yield ended(record.job_id, record.outcome.status, record.outcome.stop_reason, record.outcome.error)


def _key(record: AttemptRecord) -> dict[str, Any]:
    return {"job": record.job_id, "fence": record.attempt}
