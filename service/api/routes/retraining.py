"""Retraining of a job for its report: its cost, and the sweep that does it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext, Submitter
from service.api.http.openapi import problems
from service.api.routes.retraining_planning import current_sweep, plan_retraining
from service.api.routes.sweeps import LOCATION, store_sweep
from service.api.strict_route import StrictRoute
from service.domain.retraining import RetrainingPlan
from service.domain.sweep import Sweep
from service.errors import Conflict, NotFound
from service.spec.limits import file_bytes_of
from service.store import sweeps

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)


@router.get(
    "/{job_id}/retraining",
    operation_id="plan_retraining",
    summary="Plan retraining",
    responses=problems(404, 409),
)
async def get_retraining(job_id: JobId, context: Reader, request: Request) -> RetrainingPlan:
    """What it would cost to train an ended job again for its report: a learning curve on 10, 20, 40, 70 and 100% of
    the training rows, and networks without one of the ten most important columns, three times each with other seeds.
    Creates nothing.
    """
    planned = await expensive_work.run(context, request, context.state.compute_slots, plan_retraining, context, job_id)
    return planned.plan


@router.post(
    "/{job_id}/retraining",
    status_code=201,
    operation_id="retrain_job",
    summary="Retrain a job for its report",
    response_description="The sweep, its jobs queued.",
    responses={
        **problems(404, 409, 413, 429),
        200: {"model": Sweep, "description": "The sweep that retrains this job already."},
        201: {"headers": LOCATION},
    },
)
async def create_retraining(job_id: JobId, context: Submitter, request: Request, response: Response) -> Sweep:
    """Queue a sweep that answers by retraining: would more rows help, and which columns are needed?
    `GET` of this path says before what it costs. Once its jobs have ended, the report has the answers with
    `?retrain=true`. Repeating the request answers the same sweep, unless that was cancelled, its jobs were deleted, or
    none of them succeeded.
    """
    sweep, created = await expensive_work.run(context, request, context.state.compute_slots, _create, context, job_id)
    response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
    if not created:
        response.status_code = 200
    return sweep


def _create(context: RequestContext, job_id: str) -> tuple[Sweep, bool]:
    current, before = current_sweep(context, job_id)
    if current is not None:
        return current, False
    planned = plan_retraining(context, job_id)
    context.check_quota(sum(file_bytes_of(job.resolved) for job in planned.jobs))
    # Of two requests at once the second finds the sweep of the first; no client can send a key with a tab.
    key = f"retraining\t{job_id}\t{before or ''}"
    new = sweeps.prepare(
        planned.spec, planned.jobs, context.caller.tenant, idempotency_key=key, request_sha256=key, retrains=job_id
    )
    try:
        return store_sweep(context, new)
    except NotFound as error:
        raise Conflict(error.detail) from error
