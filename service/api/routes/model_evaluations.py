"""POST /v1/models/{model}/evaluate: how good a published model is on new labelled rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.http.openapi import EVALUATE_EXAMPLES, problems
from service.api.models.report_inputs import evaluation_inputs
from service.api.report_documents import DOCUMENTS, ChosenFormat, ReportFormat, document_response, written
from service.api.routes.model_predictions import MODEL_HEADERS, Address, headers_of, ref_of, served_at
from service.api.routes.prediction_files import FileRoute, Reservation, RowsFormat, format_of, received
from service.api.routes.predictions import PredictRequest
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT
from service.reports.evaluation import Evaluation

if TYPE_CHECKING:
    from service.domain.report import EvaluationInputs
    from service.store.models.aliases import ServedVersion

router = APIRouter(tags=["predictions"])
_files = APIRouter(prefix="/models", route_class=FileRoute)
_rows = APIRouter(prefix="/models", route_class=StrictRoute)


@_files.post("/{model}/evaluate", include_in_schema=False)
async def evaluate_file(
    model: Address, request: Request, context: Reader, reservation: Reservation, wanted: ChosenFormat
) -> Response:
    """See `evaluate_model`. The file is streamed through the disk, never whole in memory."""
    format_ = format_of(request)
    served = await served_at(context, model)
    async with received(context, request, reservation) as source:
        work = _of_file, context, served, source, format_, wanted
        body = await expensive_work.run(context, request, context.state.report_slots, *work)
    return _response(body, wanted, served)


@_rows.post(
    "/{model}/evaluate",
    operation_id="evaluate_model",
    summary="Evaluate a model on labelled rows",
    response_model=Evaluation,
    openapi_extra={"requestBody": {"content": TABULAR_CONTENT}},
    responses={**problems(400, 404, 409, 413, 415, 507), 200: {"content": DOCUMENTS, "headers": MODEL_HEADERS}},
)
async def evaluate_model(
    model: Address,
    asked: Annotated[PredictRequest, Body(openapi_examples=EVALUATE_EXAMPLES)],
    request: Request,
    context: Reader,
    wanted: ChosenFormat,
) -> Response:
    """How good the version at this address is on new rows whose target is known, such as last month's.

    The rows are those of a prediction, JSON, CSV or Parquet, with the target in its column. Rows without a target are
    left out and counted; a value that is none of the classes is a 422 that says where. The answer has the metrics of a
    report with their intervals, the slices with the largest error and the worst rows; `compared_with` has the same
    numbers for the rows that were held out in training, and `findings` says whether the difference is significant.
    Metrics are of raw probabilities, as in reports. Nothing is stored. Beyond the limit of time
    (`BESTEPOCH_MAX_INGEST_SECONDS`) or of memory, the answer is a 409.
    """
    served = await served_at(context, model)
    work = _of_rows, context, served, asked, wanted
    body = await expensive_work.run(context, request, context.state.report_slots, *work)
    return _response(body, wanted, served)


router.include_router(_files)
router.include_router(_rows)


def _of_rows(context: RequestContext, served: ServedVersion, asked: PredictRequest, wanted: ReportFormat) -> bytes:
    inputs = evaluation_inputs(context, served, ref_of(context, served))
    with context.state.artifacts.scratch() as folder:
        return _evaluated(context, replace(inputs, rows=tuple(asked.rows)), folder, wanted)


def _of_file(
    context: RequestContext, served: ServedVersion, source: Path, format_: RowsFormat, wanted: ReportFormat
) -> bytes:
    inputs = evaluation_inputs(context, served, ref_of(context, served))
    limits = context.state.file_process_limits
    rows = context.state.predictor.stage_labelled(inputs.model, source, format_.options, limits)
    return _evaluated(context, replace(inputs, staged=source.parent, staged_rows=rows), source.parent, wanted)


def _evaluated(context: RequestContext, inputs: EvaluationInputs, folder: Path, wanted: ReportFormat) -> bytes:
    """The evaluation in the format; `folder`: for its file."""
    target = folder / "evaluation.json"
    context.state.predictor.report(inputs, target, context.state.file_process_limits)
    found = target.read_bytes()
    return found if wanted is ReportFormat.json else written(Evaluation.model_validate_json(found), wanted)


def _response(body: bytes, wanted: ReportFormat, served: ServedVersion) -> Response:
    return document_response(body, wanted, f"{served.name}-{served.version}-evaluation", headers_of(served))
