"""What trainers write while they train: epochs, checkpoints and ends of many jobs in a few statements, each fenced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, case, delete, insert, select, tuple_, update

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.status import Control, Status
from service.store.jobs import events
from service.store.jobs.events import Entry, ended
from service.store.jobs.jobs import touched
from service.store.jobs.queue import Outcome
from service.store.maintenance import garbage
from service.store.schema import checkpoints, epochs, jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row

    from service.domain.checkpoint import Checkpoint
    from service.domain.epoch import Epoch

_OWNED = and_(jobs.c.id == bindparam("job"), jobs.c.attempt == bindparam("fence"), jobs.c.status == Status.running)
_RECORDED = bindparam("recorded", type_=Integer)
_FURTHER = jobs.c.furthest_epoch < _RECORDED
# An epoch beyond those of all earlier attempts is progress: crashes are counted anew.
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
class Record:
    """What one attempt at a job has to say."""

    job_id: str
    attempt: int
    rows: Sequence[Epoch] = ()
    best: BestSoFar | None = None  # written where there are rows, or a way back
    eta_seconds: float | None = None
    replace: bool = True  # rows from the first on, left by an earlier attempt or an earlier try at this, go first
    back_to: int | None = None  # the attempt goes on after this epoch: what stands behind it goes
    published: Sequence[Checkpoint] = ()  # their bytes are already safe
    dropped: frozenset[CheckpointKind] = frozenset()  # kinds that the job has no use for any more
    events: Sequence[Entry] = ()  # what else is to be known of it
    outcome: Outcome | None = None  # ends the job

    @property
    def reached(self) -> int | None:
        """The last epoch; None where there is nothing to say of it."""
        return self.rows[-1].epoch if self.rows else self.back_to

    @property
    def stale(self) -> int | None:
        """The rows from this epoch on are to go."""
        if self.back_to is not None:
            return self.back_to + 1
        return self.rows[0].epoch if self.rows and self.replace else None


@dataclass(frozen=True)
class Written:
    """What came of it."""

    controls: dict[str, Control | None]  # of each job that its attempt still owns: what was asked of it meanwhile
    replaced: frozenset[str]  # keys of checkpoints that others have replaced, or that are dropped: now garbage


def write(connection: Connection, device: str, records: Sequence[Record]) -> Written:
    """Commit these records; of a job that its attempt owns no more, nothing is written."""
    owned = _lock(connection, records)
    kept = [record for record in records if record.job_id in owned]
    tenants = {job_id: row.tenant for job_id, row in owned.items()}
    _progress(connection, device, kept)
    _history(connection, kept, tenants)
    replaced = _drop(connection, [(record.job_id, kind) for record in kept for kind in record.dropped])
    files = [(record.job_id, file) for record in kept for file in record.published]
    replaced |= _publish(connection, files, tenants)
    garbage.discard(connection, replaced)
    _finish(connection, kept)
    events.append(connection, [entry for record in kept for entry in _entries(record)])
    controls = {job_id: row.control and Control(row.control) for job_id, row in owned.items()}
    return Written(controls, replaced)


def _lock(connection: Connection, records: Sequence[Record]) -> dict[str, Row[Any]]:
    """The jobs that are still theirs until the transaction's end: SQLite's write lock, or the rows' in Postgres."""
    attempts = {record.job_id: record.attempt for record in records}
    wanted = select(jobs.c.id, jobs.c.tenant, jobs.c.attempt, jobs.c.control).where(
        jobs.c.id.in_(list(attempts)), jobs.c.status == Status.running
    )
    found: Iterable[Row[Any]] = connection.execute(wanted.order_by(jobs.c.id).with_for_update())
    return {row.id: row for row in found if row.attempt == attempts[row.id]}


def _progress(connection: Connection, device: str, records: Sequence[Record]) -> None:
    fenced = update(jobs).where(_OWNED)
    fresh = [_key(record) for record in records if record.reached is None]
    if fresh:
        connection.execute(fenced.values(touched(device=device)), fresh)
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
        connection.execute(fenced.values(touched(device=device, **values, **_PROGRESS)), moved)


def _history(connection: Connection, records: Sequence[Record], tenants: Mapping[str, str]) -> None:
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
    """Jobs have no such checkpoint any more; the keys of those they had."""
    if not kinds:
        return frozenset()
    these = tuple_(checkpoints.c.job_id, checkpoints.c.kind).in_(kinds)
    return frozenset(connection.scalars(delete(checkpoints).where(these).returning(checkpoints.c.path)))


def _publish(
    connection: Connection, files: Sequence[tuple[str, Checkpoint]], tenants: Mapping[str, str]
) -> frozenset[str]:
    """Point jobs at checkpoints; the keys of those that they replace."""
    if not files:
        return frozenset()
    old = _drop(connection, [(job_id, file.kind) for job_id, file in files])
    rows = [
        {"job_id": job_id, "tenant": tenants[job_id], **file.model_dump(exclude={"download_url"})}
        for job_id, file in files
    ]
    connection.execute(insert(checkpoints), rows)
    return old - {file.path for _, file in files}


def _finish(connection: Connection, records: Sequence[Record]) -> None:
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
    if ends:
        values: dict[str, Any] = {
            name: bindparam(f"new_{name}") for name in ("status", "stop_reason", "test_metrics", "error")
        }
        let_go = dict.fromkeys(("control", "lease_until", "lease_boot", "eta_seconds"))
        end = touched(finished_at=datetime.now(UTC), **values, **let_go)
        connection.execute(update(jobs).where(_OWNED).values(end), ends)


def _entries(record: Record) -> Iterator[Entry]:
    """The job's log of all this."""
    yield from record.events
    for file in record.published:
        if file.kind is CheckpointKind.best:
            value = record.best.value if record.best else None
            details = {"epoch": file.epoch, "value": value}
            yield Entry(record.job_id, EventKind.best, f"the best so far, epoch {file.epoch}, is published", details)
    if record.outcome is not None:
        yield ended(record.job_id, record.outcome.status, record.outcome.stop_reason, record.outcome.error)


def _key(record: Record) -> dict[str, Any]:
    return {"job": record.job_id, "fence": record.attempt}
