"""GET /v1/jobs/{id}/stream: follow a job by server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.context import JobId, Reader
from service.api.http.openapi import problems
from service.api.middleware.auth_throttle import address_of
from service.api.routes.epochs import MAX_INT, PAGE, AfterEpoch
from service.api.strict_route import StrictRoute
from service.domain.status import Status, StopReason
from service.errors import ServiceError
from service.spec.documented import Documented
from service.store.jobs import jobs

IDLE_SECONDS = 60.0
RETRY_MS = 1_000

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=StrictRoute)


class End(Documented):
    """The last event of a stream: the job has ended."""

    status: Status
    """The job's final status."""
    stop_reason: StopReason | None
    """Why training ended; null for failed jobs."""


class Closing(Documented):
    """The last event of a stream that a stopping service closes: reconnect with `Last-Event-ID`."""

    reason: str = "the service stops"
    """Why the stream ends before the job."""


def _require_job(job_id: JobId, context: Reader) -> str:
    """The job's id; raises NotFound. As a dependency it runs before the response starts, so a 404 is possible."""
    with context.database.reading() as connection:
        jobs.require(connection, job_id)
    return job_id


async def _stream_slot(context: Reader) -> AsyncIterator[None]:
    """Counts the stream against the tenant's limit until the response ends."""
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
    job_id: Annotated[str, Depends(_require_job)],
    _: Annotated[None, Depends(_stream_slot)],
    context: Reader,
    after_epoch: AfterEpoch = 0,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=MAX_INT, description="The last epoch received; browsers resend it."),
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """`epoch` events (one an epoch, its number as id), `job` events (the job, whenever it changes), and `end`.

    After a lost connection the stream resumes after `Last-Event-ID`. A stopping service sends `closing`.
    """
    epoch = after_epoch if last_event_id is None else last_event_id
    sent: str | None = None
    version: int | None = None
    while True:
        try:
            # The key may have been revoked or have expired since.
            await context.state.authenticator.caller(request.headers, address_of(request.client))
            update = await context.state.job_feed.since(context.database, job_id, epoch, version, PAGE)
        except ServiceError:
            return  # the client reconnects and gets the error
        for epoch, text in update.epochs:
            yield ServerSentEvent(event="epoch", id=str(epoch), raw_data=text)
        if len(update.epochs) == PAGE:
            continue
        if update.job_text != sent:
            yield ServerSentEvent(event="job", raw_data=update.job_text)
            sent = update.job_text
        if update.job.status.terminal:
            end = End(status=update.job.status, stop_reason=update.job.stop_reason)
            yield ServerSentEvent(event="end", data=end)
            return
        seen = await context.state.watcher.wait_for_change(job_id, version, IDLE_SECONDS)
        version = version if seen is None else seen.version
        if context.state.watcher.stopped:
            yield ServerSentEvent(event="closing", data=Closing(), retry=RETRY_MS)
            return
