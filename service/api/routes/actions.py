"""Actions on jobs: cancel, pause, resume, change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response

from service.api.context import JobId, RequestContext, Submitter
from service.api.http.openapi import problems
from service.api.strict_route import StrictRoute
from service.domain.job import Job
from service.domain.status import Status
from service.spec.job import JobChange
from service.store.jobs import actions, jobs

if TYPE_CHECKING:
    from collections.abc import Callable

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)


def _soon(what: str) -> dict[int | str, dict[str, Any]]:
    return {**problems(404, 409), 202: {"model": Job, "description": f"The job will {what} at the end of its epoch."}}


@router.post(
    "/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    response_description="The job is cancelled.",
    responses=_soon("stop"),
)
def cancel_job(job_id: JobId, context: Submitter, response: Response) -> Job:
    """Stop a job permanently.

    A queued or paused job is cancelled at once; a running one stops at the end of its epoch and keeps its best.
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
    """Pause a job, so that others can run.

    A queued job is paused at once; a running one saves its state at the end of its epoch and frees its trainer.
    """
    return _asked(actions.pause, job_id, context, response)


@router.post(
    "/{job_id}/resume",
    operation_id="resume_job",
    summary="Resume a job",
    response_description="The job is queued again, or continues.",
    responses=problems(404, 409, 413, 429),
)
def resume_job(job_id: JobId, context: Submitter) -> Job:
    """Continue a paused or pruned job where it stopped, with the same result as without the stop.

    It is queued at its old position, before jobs that were submitted later. A job that its sweep has pruned trains on
    to the end of its own spec. As long as its sweep has decisions due, neither such a job nor one that is paused at
    its epoch limit can be resumed.
    """
    with context.database.reading() as connection:
        pruned = jobs.get(connection, job_id).status is Status.pruned
    if pruned:
        context.check_quota(0)
    with context.database.transaction() as connection:
        return actions.resume(connection, job_id, max_queued=context.state.settings.max_queued_jobs)


@router.patch(
    "/{job_id}",
    operation_id="change_job",
    summary="Change a job",
    response_description="The changed job.",
    responses=problems(400, 404, 409, 413, 415),
)
def change_job(
    job_id: JobId, asked: Annotated[JobChange, Body(description="The fields to change.")], context: Submitter
) -> Job:
    """Change a job's name, labels or priority; its spec keeps the submitted values."""
    with context.database.transaction() as connection:
        return actions.change(connection, job_id, asked)


def _asked(ask: Callable[..., Job], job_id: str, context: RequestContext, response: Response) -> Job:
    with context.database.transaction() as connection:
        job = ask(connection, job_id)
    if job.control is not None:
        response.status_code = 202
    return job
