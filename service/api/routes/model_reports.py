"""GET /v1/models/{model}/report: what a version of a model is worth, as JSON, Markdown or HTML."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.http.openapi import problems
from service.api.models.report_inputs import version_report_inputs
from service.api.report_documents import DOCUMENTS, ChosenFormat, ThresholdCosts, document_response, rendered
from service.api.routes.model_predictions import MODEL_HEADERS, Address, headers_of, served_at
from service.api.routes.reports import read_intact, report_name
from service.api.strict_route import StrictRoute
from service.artifacts import sha256_of
from service.domain.version_file import VersionFile, VersionFileKind
from service.errors import QuotaExceeded
from service.reports.report import VersionReport
from service.store.models import version_files
from service.store.models.aliases import ServedVersion

router = APIRouter(prefix="/models", tags=["predictions"], route_class=StrictRoute)


@router.get(
    "/{model}/report",
    operation_id="get_model_report",
    summary="Read the report of a model",
    response_model=VersionReport,
    responses={**problems(400, 404, 409, 507), 200: {"content": DOCUMENTS, "headers": MODEL_HEADERS}},
)
async def get_model_report(
    model: Address, request: Request, context: Reader, wanted: ChosenFormat, costs: ThresholdCosts
) -> Response:
    """The report of the version at this address: what a job's report says about one network, about the weighted
    average of the members. Made from the predictions that they have kept at the first request, and stored with the
    version; it stays when jobs and data set are deleted.

    It is about the rows that are test rows of all members. Without such rows it is about the validation rows: each is
    predicted by the members that validated it, such as the network of its fold. 409 if a member has kept no
    predictions, or if members were trained on different data. Sections that could not be made are null, and `missing`
    says why. With members that were trained on different rows, baselines are trained on those of the first member,
    and compared on the test rows.
    """
    served = await served_at(context, model)
    stored = await run_in_threadpool(_stored, context, served)
    if stored is None:
        # One report of a tenant is built at a time: who asks for the same one meanwhile finds it stored.
        stored = await expensive_work.run(context, request, context.state.report_slots, _built, context, served)
    work = rendered, stored, VersionReport, wanted, costs
    body = await expensive_work.run(context, request, context.state.compute_slots, *work)
    return document_response(body, wanted, f"{served.name}-{served.version}-report", headers_of(served))


def _key(context: RequestContext, served: ServedVersion) -> str:
    with context.database.reading() as connection:
        return f"{version_files.folder(connection, served.name, served.version)}/{report_name()}"


def _stored(context: RequestContext, served: ServedVersion) -> bytes | None:
    """The stored report; None if there is none that this version of the service can read."""
    with context.database.reading() as connection:
        found = version_files.find(connection, served.name, served.version, VersionFileKind.report)
    if found is None or found.path != _key(context, served):
        return None
    return read_intact(context, found.path, found.sha256)


def _built(context: RequestContext, served: ServedVersion) -> bytes:
    """The report, built and stored unless another request has done it meanwhile; if the tenant's quota is used up it
    is not stored."""
    stored = _stored(context, served)
    if stored is not None:
        return stored
    asked, key = version_report_inputs(context, served), _key(context, served)
    with context.state.artifacts.scratch() as folder:
        target = folder / "report.json"
        context.state.predictor.report(asked, target, context.state.file_process_limits)
        found, sha256 = target.read_bytes(), sha256_of(target)
        file = VersionFile(kind=VersionFileKind.report, sha256=sha256, size_bytes=len(found), path=key)
        try:
            context.check_quota(len(found))
        except QuotaExceeded:
            return found
        context.state.artifacts.adopt(target, key, replace=True)
    with context.database.transaction() as connection:
        version_files.replace(connection, served.name, served.version, file)
    return found
