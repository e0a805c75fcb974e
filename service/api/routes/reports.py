"""GET /v1/jobs/{id}/report: what a job's best epoch is worth, as JSON, Markdown or HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.report_documents import DOCUMENTS, ChosenFormat, ThresholdCosts, document_response, rendered
from service.api.routes.job_predictions import find_kept
from service.api.routes.report_inputs import report_inputs
from service.api.routes.retraining_results import report_with_retraining
from service.api.strict_route import StrictRoute
from service.artifacts import sha256_of
from service.domain.job_file import JobFile, JobFileKind
from service.errors import Conflict, NotFound, QuotaExceeded
from service.reports.report import FORMAT, Report
from service.store import job_files
from service.store.jobs import jobs

router = APIRouter(prefix="/jobs", tags=["predictions"], route_class=StrictRoute)


@router.get(
    "/{job_id}/report",
    operation_id="get_report",
    summary="Read the report",
    response_model=Report,
    responses={**problems(400, 404, 409, 507), 200: {"content": DOCUMENTS}},
)
async def get_report(
    job_id: JobId,
    request: Request,
    context: Reader,
    wanted: ChosenFormat,
    costs: ThresholdCosts,
    retrain: Annotated[
        bool,
        Query(
            description="Add the section `retraining`, once the jobs that `POST /v1/jobs/{job_id}/retraining` queued "
            "have ended: would more rows help, and which columns are needed? This starts no training."
        ),
    ] = False,
) -> Response:
    """How good the best epoch is on the rows that it was not trained on, compared with simple models; which columns
    matter, and where it is wrong. Made from the kept predictions at the first request, and stored: in seconds, for
    large tables and networks in minutes. Beyond the limit of time (`BESTEPOCH_MAX_INGEST_SECONDS`) or of memory, the
    answer is a 409.

    Metrics have 95% confidence intervals, except costs and the further metrics of baselines. 409 until the job has
    ended, and for a job without kept predictions, which the message explains. Sections that could not be made are
    null, and `missing` says why: without the data set there are no baselines and nothing about columns. Rows are
    sampled where there are many.
    """
    stored = await read_or_build(context, request, job_id)
    if retrain:
        stored = await run_in_threadpool(report_with_retraining, context, job_id, stored)
    work = rendered, stored, Report, wanted, costs
    body = await expensive_work.run(context, request, context.state.compute_slots, *work)
    return document_response(body, wanted, f"{job_id}-report")


async def read_or_build(context: RequestContext, request: Request, job_id: str) -> bytes:
    """The stored report as JSON, built if there is none that this version can read. Raises NotFound, Conflict."""
    stored = await run_in_threadpool(_stored, context, job_id)
    if stored is not None:
        return stored
    # One report of a tenant is built at a time: who asks for the same one meanwhile finds it stored.
    return await expensive_work.run(context, request, context.state.report_slots, _built, context, job_id)


def report_name() -> str:
    """The name of a stored report: another one is built once this version, or a newly installed scikit-learn, says
    more."""
    return f"report-{FORMAT}{'' if find_spec('sklearn') else '-constant'}.json"


def _key(job_id: str) -> str:
    return f"jobs/{job_id}/{report_name()}"


def _stored(context: RequestContext, job_id: str) -> bytes | None:
    """The stored report; None if there is none that this version can read."""
    with context.database.reading() as connection:
        found = job_files.find(connection, job_id, JobFileKind.report)
    if found is None or found.path != _key(job_id):
        return None
    return read_intact(context, found.path, found.sha256)


def read_intact(context: RequestContext, key: str, sha256: str) -> bytes | None:
    """The bytes of a stored file; None if it is missing or damaged."""
    path = context.state.artifacts.path(key, sha256)
    try:
        return path.read_bytes() if sha256_of(path) == sha256 else None
    except OSError:
        return None


def _built(context: RequestContext, job_id: str) -> bytes:
    """The report, built and stored unless another request has done it meanwhile; if the tenant's quota is used up it
    is not stored."""
    stored = _stored(context, job_id)
    if stored is not None:
        return stored
    try:
        predictions = find_kept(context, job_id)
    except NotFound as error:
        with context.database.reading() as connection:
            jobs.require(connection, job_id)
        raise Conflict(error.detail) from error
    asked = report_inputs(context, job_id, predictions)
    with context.state.artifacts.scratch() as folder:
        target = folder / "report.json"
        context.state.predictor.report(asked, target, context.state.file_process_limits)
        found, sha256, key = target.read_bytes(), sha256_of(target), _key(job_id)
        now = datetime.now(UTC)
        file = JobFile(kind=JobFileKind.report, sha256=sha256, size_bytes=len(found), path=key, created_at=now)
        try:
            context.check_quota(len(found))
        except QuotaExceeded:
            return found
        context.state.artifacts.adopt(target, key, replace=True)
    with context.database.transaction() as connection:
        job_files.replace(connection, job_id, file, context.caller.tenant)
    return found
