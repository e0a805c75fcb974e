"""What trainers write while they train: epochs, checkpoints and ends of many jobs in a few statements, each fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select, tuple_, update

from service.lifecycle import Control, Status
from service.store.jobs import touched
from service.store.queue import Outcome
from service.store.tables import checkpoints, epochs, jobs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from service.lifecycle import Checkpoint, Epoch

_OWNED = and_(jobs.c.id == bindparam("job"), jobs.c.attempt == bindparam("fence"), jobs.c.status == Status.running)


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
    best: BestSoFar | None = None  # written where there are rows
    eta_seconds: float | None = None
    replace: bool = True  # rows from the first on, left by an earlier attempt or an earlier try at this, go first
    published: Sequence[Checkpoint] = ()  # their bytes are already safe
    outcome: Outcome | None = None  # ends the job


@dataclass(frozen=True)
class Written:
    """What came of it."""

    controls: dict[str, Control | None]  # of each job that its attempt still owns: what was asked of it meanwhile
    replaced: frozenset[str]  # keys of checkpoints that others have replaced


def write(connection: Connection, device: str, records: Sequence[Record]) -> Written:
    """Commit these records; of a job that its attempt owns no more, nothing is written."""
    owned = _lock(connection, records)
    kept = [record for record in records if record.job_id in owned]
    _progress(connection, device, kept)
    _history(connection, kept)
    replaced = _publish(connection, [(record.job_id, file) for record in kept for file in record.published])
    _finish(connection, kept)
    return Written(owned, replaced)


def _lock(connection: Connection, records: Sequence[Record]) -> dict[str, Control | None]:
    """The jobs that are still theirs, until the transaction's end: SQLite's write lock, or the rows' in Postgres."""
    attempts = {record.job_id: record.attempt for record in records}
    wanted = select(jobs.c.id, jobs.c.attempt, jobs.c.control).where(
        jobs.c.id.in_(list(attempts)), jobs.c.status == Status.running
    )
    found = connection.execute(wanted.order_by(jobs.c.id).with_for_update())
    return {row.id: row.control and Control(row.control) for row in found if row.attempt == attempts[row.id]}


def _progress(connection: Connection, device: str, records: Sequence[Record]) -> None:
    fenced = update(jobs).where(_OWNED)
    fresh = [_key(record) for record in records if not record.rows]
    if fresh:
        connection.execute(fenced.values(touched(device=device)), fresh)
    names = ("epoch", "eta_seconds", "best_epoch", "best_value", "best_metrics")
    moved = [
        {
            **_key(record),
            "new_epoch": record.rows[-1].epoch,
            "new_eta_seconds": record.eta_seconds,
            "new_best_epoch": record.best and record.best.epoch,
            "new_best_value": record.best and record.best.value,
            "new_best_metrics": record.best and record.best.metrics,
        }
        for record in records
        if record.rows
    ]
    if moved:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
        connection.execute(fenced.values(touched(device=device, **values)), moved)


def _history(connection: Connection, records: Sequence[Record]) -> None:
    for record in records:
        if record.rows and record.replace:
            old = and_(epochs.c.job_id == record.job_id, epochs.c.epoch >= record.rows[0].epoch)
            connection.execute(delete(epochs).where(old))
    rows = [{"job_id": record.job_id, **row.model_dump()} for record in records for row in record.rows]
    if rows:
        connection.execute(insert(epochs), rows)


def _publish(connection: Connection, files: Sequence[tuple[str, Checkpoint]]) -> frozenset[str]:
    """Point jobs at checkpoints; the keys of those that they replace."""
    if not files:
        return frozenset()
    same = tuple_(checkpoints.c.job_id, checkpoints.c.kind).in_([(job_id, file.kind) for job_id, file in files])
    old = connection.scalars(delete(checkpoints).where(same).returning(checkpoints.c.path)).all()
    rows = [{"job_id": job_id, **file.model_dump(exclude={"download_url"})} for job_id, file in files]
    connection.execute(insert(checkpoints), rows)
    return frozenset(old) - {file.path for _, file in files}


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


def _key(record: Record) -> dict[str, Any]:
    return {"job": record.job_id, "fence": record.attempt}
