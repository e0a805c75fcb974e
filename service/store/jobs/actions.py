"""Actions on jobs: clients cancel, pause, resume and change them; the search of a sweep promotes and prunes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, false, null, or_, select, true, update

from service.domain.event import EventKind
from service.domain.job import Job
from service.domain.status import LIVE, Control, Status, StopReason
from service.errors import Conflict, NotFound
from service.store.decisions import AWAITED
from service.store.epoch_limits import at_epoch_limit
from service.store.jobs import events
from service.store.jobs.dataset_locks import lock_datasets
from service.store.jobs.events import NewEvent, ended
from service.store.jobs.jobs import CHUNK, check_queue_limit, get, lock, with_next_version
from service.store.schema import jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from service.spec.job import JobChange

_RUNNING = jobs.c.status == Status.running
_WAITING = jobs.c.status.in_([Status.queued, Status.paused])


@dataclass(frozen=True)
class _Action:
    """A change of waiting jobs at once, and of running ones through their `control`, which trainers read."""

    waiting: ColumnElement[bool]  # jobs that get `values`
    values: dict[str, Any]
    running: ColumnElement[bool]  # jobs that get `control`
    control: Control | None


def cancel(connection: Connection, job_id: str) -> Job:
    """Cancel a queued or paused job at once; ask a running one to stop at the end of its epoch.

    Raises NotFound, and Conflict when the job has succeeded, failed or been pruned.
    """
    cancel_all(connection, _this(connection, job_id))
    job = get(connection, job_id)
    if job.status in (Status.succeeded, Status.failed, Status.pruned):
        raise Conflict(f"the job has already {job.status.value}")
    return job


def cancel_all(connection: Connection, which: ColumnElement[bool]) -> int:
    """Cancel all live jobs that match `which`, as `cancel` does; returns their number."""
    running = and_(_RUNNING, or_(jobs.c.control.is_(None), jobs.c.control != Control.cancel))
    end = {"status": Status.cancelled, "stop_reason": StopReason.cancelled, "finished_at": datetime.now(UTC)}
    rows = _apply(connection, which, _Action(_WAITING, end, running, Control.cancel))
    new_events = [
        NewEvent(row.id, EventKind.cancel_requested, "cancelling at the end of the epoch")
        if row.status == Status.running
        else ended(row.id, Status.cancelled, StopReason.cancelled)
        for row in rows
    ]
    events.append(connection, new_events)
    return len(rows)


def pause(connection: Connection, job_id: str) -> Job:
    """Pause a queued job at once; ask a running one to save its state and stop at the end of its epoch.

    Raises NotFound, and Conflict when the job has ended or is being cancelled.
    """
    running = and_(_RUNNING, jobs.c.control.is_(None))
    action = _Action(jobs.c.status == Status.queued, {"status": Status.paused}, running, Control.pause)
    for row in _apply(connection, _this(connection, job_id), action):
        requested = EventKind.pause_requested, "pausing at the end of the epoch"
        paused = EventKind.paused, "paused"
        events.append(connection, [NewEvent(row.id, *(requested if row.status == Status.running else paused))])
    return _get_not_cancelling(connection, job_id)


def resume(connection: Connection, job_id: str, *, max_queued: int) -> Job:
    """Requeue a paused job at its old position; withdraw a pending request to pause; revive a pruned job.

    A revived job trains to the end of its own spec, and counts in the queue again; so does a job at its epoch limit.
    Both have to wait until their sweep takes no more decisions, which would depend on them. Raises NotFound, QueueFull,
    and Conflict when the job has ended, is being cancelled, has to wait for its sweep, or lost its data set.
    """
    if get(connection, job_id).status is Status.pruned:
        return _revive(connection, job_id, max_queued)
    running = and_(_RUNNING, jobs.c.control == Control.pause)
    paused = and_(jobs.c.status == Status.paused, or_(~at_epoch_limit(), ~AWAITED))
    limit = case((at_epoch_limit(), null()), else_=jobs.c.epoch_limit)
    action = _Action(paused, {"status": Status.queued, "epoch_limit": limit}, running, None)
    for row in _apply(connection, _this(connection, job_id), action):
        withdrawn = EventKind.pause_withdrawn, "request to pause withdrawn"
        queued = EventKind.queued, "resumed: queued again"
        events.append(connection, [NewEvent(row.id, *(withdrawn if row.status == Status.running else queued))])
    job = _get_not_cancelling(connection, job_id)
    if job.status is Status.paused:
        raise Conflict(
            f"the job is paused at its epoch limit, {job.epoch_limit}, until its sweep promotes or prunes it"
        )
    return job


def _revive(connection: Connection, job_id: str, max_queued: int) -> Job:
    needed = select(jobs.c.dataset_id, jobs.c.spec["data"]["kind"].as_string().label("kind"))
    row = connection.execute(needed.where(_this(connection, job_id))).one()
    try:
        lock_datasets(connection, {row.dataset_id} if row.kind == "dataset" else set())
    except NotFound as error:
        raise Conflict("the job cannot be revived: its data set was deleted") from error
    check_queue_limit(connection, 1, max_queued)
    values = {"status": Status.queued, "epoch_limit": None, "stop_reason": None, "finished_at": None, "failures": 0}
    these = and_(_this(connection, job_id), jobs.c.status == Status.pruned, ~AWAITED)
    if connection.execute(update(jobs).where(these).values(with_next_version(**values))).rowcount:
        events.append(connection, [NewEvent(job_id, EventKind.revived, "revived: queued again, without epoch limit")])
    if get(connection, job_id).status is Status.pruned:
        raise Conflict("the job's sweep still searches; resume the job once that has ended, or fork it")
    return _get_not_cancelling(connection, job_id)


def promote(connection: Connection, job_ids: Sequence[str], epoch_limit: int | None) -> int:
    """Requeue those of these jobs that wait at their epoch limit, with a larger one or none; returns their number.

    Others, which have ended or were paused before it, stay as they are.
    """
    further = jobs.c.epoch < epoch_limit if epoch_limit is not None else true()
    waiting = and_(_WAITING, at_epoch_limit(), further)  # queued at its limit: by a version that knows none
    to = "the end" if epoch_limit is None else f"epoch {epoch_limit}"
    message, details = f"promoted: trains on to {to}", {"epoch_limit": epoch_limit}
    rows = _decide(connection, job_ids, waiting, {"status": Status.queued, "epoch_limit": epoch_limit})
    events.append(connection, [NewEvent(row.id, EventKind.promoted, message, details) for row in rows])
    return len(rows)


def prune(connection: Connection, job_ids: Sequence[str], reason: str) -> int:
    """End those of these jobs that are queued or paused, because their trial is given up; returns their number.

    They keep best checkpoint and state, so that `resume` can revive them. `reason`: the message of the event.
    """
    end = {"status": Status.pruned, "stop_reason": StopReason.pruned, "finished_at": datetime.now(UTC)}
    rows = _decide(connection, job_ids, _WAITING, end)
    ends = [ended(row.id, Status.pruned, StopReason.pruned, epoch=row.epoch) for row in rows]
    events.append(connection, [replace(end, message=reason) for end in ends])
    return len(rows)


def _decide(
    connection: Connection, job_ids: Sequence[str], waiting: ColumnElement[bool], values: dict[str, Any]
) -> list[Row[Any]]:
    """Change those of these jobs that are `waiting`; returns (id, status, epoch) of each changed job."""
    rows: list[Row[Any]] = []
    for start in range(0, len(job_ids), CHUNK):
        these = and_(in_tenant(connection, jobs), jobs.c.id.in_(job_ids[start : start + CHUNK]))
        rows += _apply(connection, these, _Action(waiting, values, false(), None))
    return rows


def change(connection: Connection, job_id: str, asked: JobChange) -> Job:
    """Change name, labels or priority; raises NotFound, and Conflict for the priority of a job that has ended."""
    values = asked.model_dump(exclude_unset=True)
    if values:
        which = _this(connection, job_id)
        if "priority" in values:
            which = and_(which, jobs.c.status.in_(LIVE))
        if connection.execute(update(jobs).where(which).values(with_next_version(**values))).rowcount == 0:
            _get_live(connection, job_id)
        message = ", ".join(f"{name} is now {value!r}" for name, value in values.items())
        events.append(connection, [NewEvent(job_id, EventKind.changed, message, values)])
    return get(connection, job_id)


def _this(connection: Connection, job_id: str) -> ColumnElement[bool]:
    return and_(in_tenant(connection, jobs), jobs.c.id == job_id)


def _get_live(connection: Connection, job_id: str) -> Job:
    job = get(connection, job_id)
    if job.status.terminal:
        raise Conflict(f"the job has ended: it is {job.status.value}")
    return job


def _get_not_cancelling(connection: Connection, job_id: str) -> Job:
    job = _get_live(connection, job_id)
    if job.control is Control.cancel:
        raise Conflict("the job is being cancelled")
    return job


def _apply(connection: Connection, which: ColumnElement[bool], action: _Action) -> Sequence[Row[Any]]:
    """Apply the action to the jobs that match `which`; returns (id, status, epoch) of each changed job.

    The state at the time of the row lock decides, so a concurrent claim or release is not missed.
    """
    these = and_(which, or_(action.waiting, action.running))
    lock(connection, these)
    values = {name: case((action.waiting, value), else_=jobs.c[name]) for name, value in action.values.items()}
    control = case((action.running, action.control), else_=jobs.c.control)
    statement = update(jobs).where(these).values(with_next_version(**values, control=control))
    return connection.execute(statement.returning(jobs.c.id, jobs.c.status, jobs.c.epoch)).all()
