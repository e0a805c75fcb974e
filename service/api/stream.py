"""A job as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict

from service.api.deps import JobId, Parts, Service
from service.api.history import MAX_INT, PAGE, AfterEpoch
from service.api.jobs import read_job
from service.api.openapi import problems
from service.api.requests import Route
from service.errors import NotFound, Unavailable
from service.lifecycle import Epoch, Job, Status, StopReason
from service.store import history

IDLE_SECONDS = 60.0
RETRY_MS = 1_000

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=Route)


class End(BaseModel):
    """The last event of a stream: the job has ended."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Status
    """How it ended."""
    stop_reason: StopReason | None
    """Why training ended; null for failed jobs."""


class Closing(BaseModel):
    """The last event of a stream that the service ends as it stops: come back with `Last-Event-ID`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    reason: str = "the service stops"
    """Why the stream ends before the job."""


def _known_job(job_id: JobId, service: Service) -> Job:
    """As a dependency it runs before the stream begins, while a 404 is still possible."""
    return read_job(service, job_id)


@router.get(
    "/{job_id}/stream",
    operation_id="stream_job",
    summary="Follow a job",
    response_class=EventSourceResponse,
    response_description="Server-sent events until the job ends.",
    responses=problems(404),
)
async def stream_job(
    job: Annotated[Job, Depends(_known_job)],
    service: Service,
    after_epoch: AfterEpoch = 0,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=MAX_INT, description="The last epoch received; browsers send it by themselves.")
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """`epoch` events (one an epoch, its number as id), `job` events (the job, whenever it changes), and `end`.

    After a lost connection the stream goes on behind `Last-Event-ID`. A service that stops says `closing`.
    """
    epoch = after_epoch if last_event_id is None else last_event_id
    sent: Job | None = None
    version: int | None = None
    while True:
        try:
            job, rows = await run_in_threadpool(_read, service, job.id, epoch)
        except (NotFound, Unavailable):
            return  # the client comes back and hears why
        for row in rows:
            yield ServerSentEvent(event="epoch", id=str(row.epoch), data=row)
            epoch = row.epoch
        if len(rows) == PAGE:
            continue
        if job != sent:
            yield ServerSentEvent(event="job", data=job)
            sent = job
        if job.status.terminal:
            yield ServerSentEvent(event="end", data=End(status=job.status, stop_reason=job.stop_reason))
            return
        seen = await service.watcher.change(job.id, version, IDLE_SECONDS)
        version = version if seen is None else seen.version
        if service.watcher.stopped:
            yield ServerSentEvent(event="closing", data=Closing(), retry=RETRY_MS)
            return


def _read(service: Parts, job_id: str, after_epoch: int) -> tuple[Job, list[Epoch]]:
    # The job before its rows: once it has ended, all of them are there.
    job = read_job(service, job_id)
    with service.database.reading() as connection:
        return job, history.read(connection, job_id, after_epoch=after_epoch, limit=PAGE)
