"""GET /v1/jobs/{id}/events: the event log of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from service.api.context import JobId, Reader
from service.api.http.openapi import problems
from service.api.routes.epochs import MAX_INT
from service.api.strict_route import StrictRoute
from service.domain.event import Event
from service.spec.documented import Documented
from service.store.jobs import events, jobs

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=StrictRoute)


class Events(Documented):
    """A page of a job's event log."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[Event]
    """The events, the oldest first."""
    has_more: bool
    """Whether there are more after these."""
    next: int | None
    """Send it as `after` for the next page; null on the last one."""


@router.get("/{job_id}/events", operation_id="list_events", summary="Read a job's log", responses=problems(404))
def list_events(
    job_id: JobId,
    context: Reader,
    after: Annotated[int, Query(ge=0, le=MAX_INT, description="Only events after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000, description="How many at most.")] = 100,
) -> Events:
    """What happened to the job and why, in order: claims, requeues, resumes, how it ended."""
    with context.database.reading() as connection:
        jobs.require(connection, job_id)
        found = events.read(connection, job_id, after=after, limit=limit + 1)
    data, more = found[:limit], len(found) > limit
    return Events(data=data, has_more=more, next=data[-1].number if more else None)
