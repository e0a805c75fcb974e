"""Jobs under way over HTTP: cancel, pause, resume, change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response

from service.api.context import JobId, RequestContext, Submitter
from service.api.http.openapi import problems
from service.api.strict_route import StrictRoute
from service.domain.job import Job
from service.spec.job import JobChange
from service.store.jobs import actions

if TYPE_CHECKING:
    from collections.abc import Callable

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)


def _soon(what: str) -> dict[int | str, dict[str, Any]]:
    return {**problems(404, 409), 202: {"model": Job, "description": f"The job will {what} at its epoch's end."}}


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    response_description="The job is cancelled.",
    responses=_soon("stop"),
)
def cancel_job(job_id: JobId, context: Submitter, response: Response) -> Job:
    """Stop a job for good.

    One that waits is cancelled at once; one that trains stops at its epoch's end and keeps its best.
    """
    return _asked(actions.cancel, job_id, context, response)


@router.post(
    "/{job_id}/pause",
    operation_id="pause_job",
    summary="Pause a job",
    response_description="The job is paused.",
    responses=_soon("pause"),
)
def pause_job(job_id: JobId, context: Submitter, response: Response) -> Job:
    """Set a job aside, for others to go first.

    One that waits is paused at once; one that trains saves its state at its epoch's end and leaves its trainer.
    """
    return _asked(actions.pause, job_id, context, response)


@router.post(
    "/{job_id}/resume",
    operation_id="resume_job",
    summary="Resume a job",
    response_description="The job is queued again, or goes on.",
    responses=problems(404, 409),
)
def resume_job(job_id: JobId, context: Submitter) -> Job:
    """Let a paused job go on where it stopped, as if it had never been paused.

    It is queued in its old place, before jobs that were submitted later.
    """
    with context.database.transaction() as connection:
        return actions.resume(connection, job_id)


@router.patch(
    "/{job_id}",
    operation_id="change_job",
    summary="Change a job",
    response_description="The job as it is now.",
    responses=problems(400, 404, 409, 413, 415),
)
def change_job(
    job_id: JobId, asked: Annotated[JobChange, Body(description="What to change, and only that.")], context: Submitter
) -> Job:
    """Give a job another name, other labels or another priority; its spec keeps what it was submitted with."""
    with context.database.transaction() as connection:
        return actions.change(connection, job_id, asked)


def _asked(ask: Callable[..., Job], job_id: str, context: RequestContext, response: Response) -> Job:
    with context.database.transaction() as connection:
        job = ask(connection, job_id)
    if job.control is not None:
        response.status_code = 202
    return job
