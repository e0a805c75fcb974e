"""Jobs: submit, plan, list, read, wait, delete."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from service.api import expensive_work
from service.api.context import Admin, JobId, Reader, RequestContext, Submitter
from service.api.http.openapi import SPEC_EXAMPLES, problems
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.plan import Plan, plan_of
from service.api.strict_route import StrictRoute
from service.api.table_profiles import profile_for
from service.api.worker_warning import missing_worker
from service.domain.job import Job
from service.domain.status import Status
from service.errors import InvalidSpec, NotFound
from service.spec.base import known
from service.spec.job import JobSpec, Labels
from service.spec.limits import file_bytes_of
from service.spec.resolve import resolve
from service.store.jobs import jobs
from service.store.jobs.job_filter import JobFilter

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)

Spec = Annotated[JobSpec, Body(description="The network to train.", openapi_examples=SPEC_EXAMPLES)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Any text; repeating a request with the same key creates nothing new.",
    ),
]
_LABELS = TypeAdapter(Labels)
REPLAYED = {"Idempotent-Replayed": {"description": "`true`.", "schema": {"type": "string"}}}
CREATED: dict[int | str, dict[str, Any]] = {
    200: {"model": Job, "description": "The job that this key created before.", "headers": REPLAYED},
    201: {"headers": {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}},
}


@router.post(
    "",
    status_code=201,
    operation_id="create_job",
    summary="Submit a job",
    response_description="The job, queued.",
    responses={**CREATED, **problems(400, 413, 415, 429)},
)
async def create_job(
    spec: Spec, context: Submitter, request: Request, response: Response, key: IdempotencyKey = None
) -> Job:
    """Queue a network for training. Only `data` is required; the job's `spec` shows every default written out.

    With an `Idempotency-Key` a request can be repeated safely: the same body under the same key answers 200 with
    the job that the first one created, another body 422.
    """
    job, created = await expensive_work.run(context, request, context.state.plan_slots, _create, context, spec, key)
    return answer(job, created, response)


def _create(context: RequestContext, spec: JobSpec, key: str | None) -> tuple[Job, bool]:
    sha256 = fingerprint(spec)
    known = replay(context, key, sha256)
    if known is not None:
        return known, False
    resolved = resolve(spec, profile_for(context, spec), context.state.limits)
    context.check_quota(file_bytes_of(resolved))
    try:
        with context.database.transaction() as connection:
            return jobs.submit(
                connection,
                resolved,
                max_queued=context.state.settings.max_queued_jobs,
                idempotency_key=key,
                request_sha256=sha256,
            )
    except NotFound as error:
        raise InvalidSpec.at("/data/id", error.detail) from error


def answer(job: Job, created: bool, response: Response) -> Job:
    """The response to a submission; not `created`: replayed by its Idempotency-Key."""
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if not created:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return job


def replay(context: RequestContext, key: str | None, sha256: str) -> Job | None:
    """The job that this Idempotency-Key created before; raises IdempotencyMismatch for another request."""
    if key is None:
        return None
    with context.database.reading() as connection:
        return jobs.by_idempotency_key(connection, key, sha256)


def fingerprint(asked: BaseModel) -> str:
    """SHA-256 of a request, independent of the order of fields and of whether defaults are written out."""
    return hashlib.sha256(json.dumps(asked.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


@router.post("/plan", operation_id="plan_job", summary="Plan a job", responses=problems(400, 413, 415))
async def plan_job(spec: Spec, context: Reader, request: Request) -> Plan:
    """Preview a job: the spec with every default, the layers, the rows of each part. Creates nothing."""
    return await expensive_work.run(context, request, context.state.plan_slots, _plan, context, spec)


def _plan(context: RequestContext, spec: JobSpec) -> Plan:
    profile = profile_for(context, spec)
    plan = plan_of(spec, profile, resolve(spec, profile, context.state.limits))
    return plan.model_copy(update={"warnings": [*plan.warnings, *missing_worker(context, spec.worker)]})


def label_filters(
    request: Request,
    _label: Annotated[
        str | None,
        Query(alias="label.KEY", description="Only jobs whose label KEY has this value, e.g. `label.project=birds`."),
    ] = None,
) -> dict[str, str]:
    """Query parameters such as `label.project=birds`, by label."""
    sent = {name: value for name, value in request.query_params.items() if name.startswith("label.")}
    try:
        return _LABELS.validate_python({name.removeprefix("label."): value for name, value in sent.items()})
    except ValidationError as error:
        found = [{**e, "loc": ("query", f"label.{e['loc'][0]}" if e["loc"] else "label.KEY")} for e in error.errors()]
        raise RequestValidationError(found) from error


@router.get("", operation_id="list_jobs", summary="List jobs")
def list_jobs(
    context: Reader,
    labels: Annotated[dict[str, str], Depends(label_filters)],
    status: Annotated[
        Annotated[Status, AfterValidator(known)] | None, Query(description="Only jobs in this state.")
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="Only jobs with exactly this name.")] = None,
    sweep: Annotated[str | None, Query(max_length=100, description="Only jobs of the sweep with this id.")] = None,
    limit: Limit = 20,
    after: Annotated[str | None, cursor("job")] = None,
) -> Page[Job]:
    """Jobs that match every filter, newest first."""
    with context.database.reading() as connection:
        which = JobFilter(status=status, name=name, labels=labels, sweep=sweep)
        found = jobs.find(connection, which, limit=limit + 1, after=after)
    return page_of(found, limit, lambda job: job.id)


@router.get("/{job_id}", operation_id="get_job", summary="Read a job", response_model=Job, responses=problems(404))
async def get_job(
    job_id: JobId,
    context: Reader,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the job to end.")] = 0,
) -> Response:
    """The job's current state. With `wait`, the response is delayed until the job has ended, at most that long."""
    tenant, reader = context.caller.tenant, context.state.job_reader
    job = await reader.read(tenant, job_id)
    if wait and not job.status.terminal:
        with context.state.rate_limiter.stream(tenant):
            await context.state.watcher.wait_for_end(job_id, wait)
        job = await reader.read(tenant, job_id)
    return Response(job.content, media_type="application/json")


def read_job(context: RequestContext, job_id: str) -> Job:
    """The job of this id; raises NotFound."""
    with context.database.reading() as connection:
        return jobs.get(connection, job_id)


@router.delete(
    "/{job_id}",
    status_code=204,
    operation_id="delete_job",
    summary="Delete a job",
    response_description="The job is deleted.",
    responses=problems(404, 409),
)
def delete_job(job_id: JobId, context: Admin) -> None:
    """Delete an ended job with its history and checkpoints; 409 for a live job, and for one of a sweep with decisions
    due: cancel it, or the sweep, first."""
    with context.database.transaction() as connection:
        jobs.remove(connection, job_id)
