"""A job as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict

from service.api.context import JobId, Reader
from service.api.http.openapi import problems
from service.api.middleware.auth_throttle import address_of
from service.api.routes.epochs import MAX_INT, PAGE, AfterEpoch
from service.api.routes.jobs import read_job
from service.api.strict_route import StrictRoute
from service.domain.job import Job
from service.domain.status import Status, StopReason
from service.errors import ServiceError

IDLE_SECONDS = 60.0
RETRY_MS = 1_000

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=StrictRoute)


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


def _known_job(job_id: JobId, context: Reader) -> Job:
    """As a dependency it runs before the stream begins, while a 404 is still possible."""
    return read_job(context, job_id)


async def _place(context: Reader) -> AsyncIterator[None]:
    """One of the streams that may be open; left when the answer ends, however it does."""
    with context.state.rate_limiter.stream(context.caller.tenant):
        yield


@router.get(
    "/{job_id}/stream",
    operation_id="stream_job",
    summary="Follow a job",
    response_class=EventSourceResponse,
    response_description="Server-sent events until the job ends.",
    responses=problems(404),
)
async def stream_job(
    request: Request,
    job: Annotated[Job, Depends(_known_job)],
    _: Annotated[None, Depends(_place)],
    context: Reader,
    after_epoch: AfterEpoch = 0,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=MAX_INT, description="The last epoch received; browsers send it by themselves.")
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """`epoch` events (one an epoch, its number as id), `job` events (the job, whenever it changes), and `end`.

    After a lost connection the stream goes on behind `Last-Event-ID`. A service that stops says `closing`.
    """
    epoch = after_epoch if last_event_id is None else last_event_id
    sent: str | None = None
    version: int | None = None
    while True:
        try:
            # Who may have lost their key meanwhile.
            await context.state.authenticator.caller(request.headers, address_of(request.client))
            news = await context.state.job_feed.since(context.database, job.id, epoch, version, PAGE)
        except ServiceError:
            return  # the client comes back and hears why
        for epoch, text in news.epochs:
            yield ServerSentEvent(event="epoch", id=str(epoch), raw_data=text)
        if len(news.epochs) == PAGE:
            continue
        if news.job_text != sent:
            yield ServerSentEvent(event="job", raw_data=news.job_text)
            sent = news.job_text
        if news.job.status.terminal:
            end = End(status=news.job.status, stop_reason=news.job.stop_reason)
            yield ServerSentEvent(event="end", data=end)
            return
        seen = await context.state.watcher.wait_for_change(job.id, version, IDLE_SECONDS)
        version = version if seen is None else seen.version
        if context.state.watcher.stopped:
            yield ServerSentEvent(event="closing", data=Closing(), retry=RETRY_MS)
            return
