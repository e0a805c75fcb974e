"""What clients ask of jobs under way: cancel, pause, resume, change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, or_, update

from service.domain.event import EventKind
from service.domain.job import Job
from service.domain.status import LIVE, Control, Status, StopReason
from service.errors import Conflict
from service.store.jobs import events
from service.store.jobs.events import NewEvent, ended
from service.store.jobs.jobs import get, lock, with_next_version
from service.store.schema import jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from service.spec.job import JobChange

_RUNS = jobs.c.status == Status.running


def cancel(connection: Connection, job_id: str) -> Job:
    """Cancel at once what waits; ask a running job to stop at its epoch's end.

    Raises NotFound, and Conflict when the job has ended otherwise.
    """
    stop(connection, _this(connection, job_id))
    job = get(connection, job_id)
    if job.status in (Status.succeeded, Status.failed):
        raise Conflict(f"the job has already {job.status.value}")
    return job


def stop(connection: Connection, which: ColumnElement[bool]) -> int:
    """Cancel at once those of these jobs that wait, and ask those that run; how many there were."""
    waits = jobs.c.status.in_([Status.queued, Status.paused])
    runs = and_(_RUNS, or_(jobs.c.control.is_(None), jobs.c.control != Control.cancel))
    end = {"status": Status.cancelled, "stop_reason": StopReason.cancelled, "finished_at": datetime.now(UTC)}
    rows = _ask(connection, which, waits, end, runs, Control.cancel)
    entries = [
        NewEvent(row.id, EventKind.cancel_requested, "to be cancelled at the epoch's end")
        if row.status == Status.running
        else ended(row.id, Status.cancelled, StopReason.cancelled)
        for row in rows
    ]
    events.append(connection, entries)
    return len(rows)


def pause(connection: Connection, job_id: str) -> Job:
    """Set aside at once what is queued; ask a running job to save its state and stop at its epoch's end.

    Raises NotFound, and Conflict when the job has ended or is about to be cancelled.
    """
    waits, runs = jobs.c.status == Status.queued, and_(_RUNS, jobs.c.control.is_(None))
    for row in _ask(connection, _this(connection, job_id), waits, {"status": Status.paused}, runs, Control.pause):
        asked = EventKind.pause_requested, "to be paused at the epoch's end"
        events.append(
            connection, [NewEvent(row.id, *(asked if row.status == Status.running else (EventKind.paused, "paused")))]
        )
    return _goes_on(connection, job_id)


def resume(connection: Connection, job_id: str) -> Job:
    """Queue a paused job again, in its old place; withdraw a request to pause.

    Raises NotFound, and Conflict when the job has ended or is about to be cancelled.
    """
    waits, runs = jobs.c.status == Status.paused, and_(_RUNS, jobs.c.control == Control.pause)
    for row in _ask(connection, _this(connection, job_id), waits, {"status": Status.queued}, runs, None):
        withdrawn = EventKind.pause_withdrawn, "not to be paused after all"
        again = EventKind.queued, "no longer paused"
        events.append(connection, [NewEvent(row.id, *(withdrawn if row.status == Status.running else again))])
    return _goes_on(connection, job_id)


def change(connection: Connection, job_id: str, asked: JobChange) -> Job:
    """Change what may still be changed; raises NotFound, and Conflict for the priority of a job that has ended."""
    values = asked.model_dump(exclude_unset=True)
    if values:
        which = _this(connection, job_id)
        if "priority" in values:
            which = and_(which, jobs.c.status.in_(LIVE))
        if connection.execute(update(jobs).where(which).values(with_next_version(**values))).rowcount == 0:
            _live(connection, job_id)
        words = ", ".join(f"{name} is now {value!r}" for name, value in values.items())
        events.append(connection, [NewEvent(job_id, EventKind.changed, words, values)])
    return get(connection, job_id)


def _this(connection: Connection, job_id: str) -> ColumnElement[bool]:
    return and_(in_tenant(connection, jobs), jobs.c.id == job_id)


def _live(connection: Connection, job_id: str) -> Job:
    job = get(connection, job_id)
    if job.status.terminal:
        raise Conflict(f"the job has ended: it is {job.status.value}")
    return job


def _goes_on(connection: Connection, job_id: str) -> Job:
    job = _live(connection, job_id)
    if job.control is Control.cancel:
        raise Conflict("the job is about to be cancelled")
    return job


def _ask(
    connection: Connection,
    which: ColumnElement[bool],
    waits: ColumnElement[bool],
    at_once: dict[str, Any],
    runs: ColumnElement[bool],
    control: Control | None,
) -> Sequence[Row[Any]]:
    """What waits gets the values `at_once`, what runs is asked for `control`; (id, status) of each such job now.

    The state in which a job is locked decides: one that is claimed or given back meanwhile is met in either.
    """
    these = and_(which, or_(waits, runs))
    lock(connection, these)
    values = {name: case((waits, value), else_=jobs.c[name]) for name, value in at_once.items()}
    asked = with_next_version(**values, control=case((runs, control), else_=jobs.c.control))
    statement = update(jobs).where(these).values(asked)
    return connection.execute(statement.returning(jobs.c.id, jobs.c.status)).all()
