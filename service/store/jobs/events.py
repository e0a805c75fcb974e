"""The event log of each job, written in the same transaction as the change that it tells of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from service.domain.event import Event, EventKind
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status, StopReason
from service.store.notifications import tell_workers
from service.store.schema import events, jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

CHUNK = 1_000  # events in one statement
QUEUES = {EventKind.queued, EventKind.retried, EventKind.released, EventKind.revived, EventKind.promoted}
_COLUMNS = [events.c[name] for name in Event.model_fields if name != "object"]


@dataclass(frozen=True)
class NewEvent:
    """An event to be appended to a job's log."""

    job_id: str
    kind: EventKind
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def append_first(connection: Connection, new_jobs: Sequence[tuple[str, str, str]]) -> None:
    """Write the first event of new jobs, given as (id, tenant, message)."""
    now, first = datetime.now(UTC), {"number": 1, "kind": EventKind.queued, "attempt": 0, "details": {}}
    rows = [
        {**first, "job_id": job_id, "tenant": tenant, "at": now, "message": text} for job_id, tenant, text in new_jobs
    ]
    connection.execute(insert(events), rows)


def append(connection: Connection, new: Sequence[NewEvent]) -> None:
    """Append to the logs of jobs that this transaction has changed: their row locks make the numbering safe.

    Tells workers of jobs that are queued again.
    """
    for start in range(0, len(new), CHUNK):
        _append(connection, new[start : start + CHUNK])
    if any(event.kind in QUEUES for event in new):
        tell_workers(connection)


def _append(connection: Connection, new: Sequence[NewEvent]) -> None:
    columns = jobs.c.id, jobs.c.tenant, jobs.c.attempt
    query = select(*columns, func.coalesce(func.max(events.c.number), 0).label("number")).outerjoin(events)
    wanted = query.where(in_tenant(connection, jobs), jobs.c.id.in_({event.job_id for event in new})).group_by(*columns)
    found = {row.id: row for row in connection.execute(wanted)}
    numbers = Counter({job_id: row.number for job_id, row in found.items()})
    now, rows = datetime.now(UTC), []
    for event in new:
        numbers[event.job_id] += 1
        job = found[event.job_id]
        rows.append(
            {
                "job_id": event.job_id,
                "number": numbers[event.job_id],
                "tenant": job.tenant,
                "at": now,
                "kind": event.kind,
                "attempt": job.attempt,
                "message": event.message,
                "details": event.details,
            }
        )
    connection.execute(insert(events), rows)


def ended(
    job_id: str, status: Status, stop_reason: StopReason | None, error: JobError | None = None, **more: Any
) -> NewEvent:
    """The event of a job's end; `more` is added to its details."""
    why = error.message if error else stop_reason.value.replace("_", " ") if stop_reason else ""
    code: ErrorCode | None = error.code if error else None
    details = {"status": status, "stop_reason": stop_reason, "code": code, **more}
    return NewEvent(job_id, EventKind.ended, f"{status.value}: {why}" if why != status.value else why, details)


def last_message(connection: Connection, job_id: str, kind: EventKind) -> str | None:
    """The message of the job's last event of this kind, if there is one."""
    these = in_tenant(connection, events), events.c.job_id == job_id, events.c.kind == kind
    return connection.scalar(select(events.c.message).where(*these).order_by(events.c.number.desc()).limit(1))


def read(connection: Connection, job_id: str, *, after: int = 0, limit: int) -> list[Event]:
    """The job's events after number `after` in order, at most `limit`."""
    query = select(*_COLUMNS).where(in_tenant(connection, events), events.c.job_id == job_id, events.c.number > after)
    rows = connection.execute(query.order_by(events.c.number).limit(limit))
    return [Event.model_validate(dict(row._mapping)) for row in rows]
