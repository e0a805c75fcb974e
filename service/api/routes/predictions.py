"""POST /v1/jobs/{id}/predict: predictions of the best epoch for rows in JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field, StringConstraints
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import FEW_ROWS, JobId, Reader, RequestContext
from service.api.http.openapi import PREDICT_EXAMPLES, problems
from service.api.http.ranges import JSON, whole
from service.api.routes.checkpoints import with_current
from service.api.routes.jobs import read_job
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT
from service.concurrency.cancellation import current
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.job_file import JobFile, JobFileKind
from service.domain.model_ref import Member, ModelRef
from service.domain.prediction import AppliedCalibration, PredictedRows, PredictionOptions
from service.errors import Conflict, NotFound
from service.spec.base import Bool, ColumnName, Float, Strict
from service.spec.capped_errors import CapErrors
from service.spec.data import Int64
from service.spec.documented import Documented
from service.spec.table import Value
from service.store import checkpoints, job_files

router = APIRouter(prefix="/jobs", tags=["predictions"], route_class=StrictRoute)

T = TypeVar("T")

MAX_ROWS = 10_000
MAX_BUFFERED_BYTES = 2**20
"""A larger response is sent from disk, so that a slow client holds no memory."""

# Requests and responses in CSV and Parquet are served by `prediction_files.py`, and documented here: OpenAPI has one
# operation per path and method.
HEADERS = {
    "Checkpoint-Epoch": {"description": "With a file: the epoch of the weights used.", "schema": {"type": "integer"}},
    "Calibration": {
        "description": "With a file: how it was calibrated, the JSON object `calibration`; absent where that is null.",
        "schema": {"type": "string"},
    },
    "Checkpoint-SHA256": {"description": "With a file: SHA-256 of the weights used.", "schema": {"type": "string"}},
}

Cell = Bool | Int64 | Float | Annotated[str, StringConstraints(strict=True, max_length=10_000)] | None


class PredictRequest(Strict):
    """Rows to predict."""

    rows: Annotated[
        list[Annotated[dict[ColumnName, Cell], CapErrors()]], Field(min_length=1, max_length=MAX_ROWS), CapErrors()
    ]
    """Each row by column name, null where a value is missing, dates as RFC 3339 or ISO 8601 text (UTC where no zone
    is named); inline and synthetic data have columns x0, x1, ..."""


async def _options(
    calibrated: Annotated[
        bool,
        Query(
            description="Calibrate probabilities by the temperature that fits the validation rows; `false`: raw ones."
        ),
    ] = True,
    interval: Annotated[
        float | None,
        Query(
            gt=0.0,
            lt=1.0,
            description="Also answer `lower` and `upper`, or for classes a `set`, that contain the truth with this "
            "probability, if the rows are exchangeable with validation rows that chose nothing. They also chose the "
            "best epoch, and for a sweep the point and the weights: with few of them, coverage is lower. The report "
            "measures it on test rows (`conformal`).",
            examples=[0.9],
        ),
    ] = None,
) -> PredictionOptions:
    return PredictionOptions(calibrated, interval)


Options = Annotated[PredictionOptions, Depends(_options)]


class Prediction(Documented):
    """The prediction for one row."""

    prediction: Value | None
    """The class, or the number in the target's units; null for a number beyond the range of float64."""
    probabilities: dict[str, float | None] | None = None
    """Each class and its probability, null where the network's output is not a number; absent for regression."""
    lower: float | None = None
    """The lower end of the interval; null for a number beyond the range of float64, absent if not asked for."""
    upper: float | None = None
    """Its upper end."""
    set: list[Value] | None = None
    """The set of classes, never empty, in their order; absent if not asked for."""


class PredictedBy(Documented):
    """The weights used."""

    epoch: int
    """The epoch of the weights."""
    sha256: str
    """SHA-256 of the safetensors file."""


class Predictions(Documented):
    """A prediction for each row."""

    predictions: list[Prediction]
    """One per row, in the rows' order."""
    calibration: AppliedCalibration | None
    """How they were calibrated; null where nothing was to be: for regression without an interval, and for raw
    probabilities."""
    checkpoint: PredictedBy
    """The weights used."""


@router.post(
    "/{job_id}/predict",
    operation_id="predict",
    summary="Predict rows",
    response_model=Predictions,
    openapi_extra={"requestBody": {"content": TABULAR_CONTENT}},
    responses={**problems(400, 404, 409, 413, 415, 507), 200: {"content": TABULAR_CONTENT, "headers": HEADERS}},
)
async def predict(
    job_id: JobId,
    asked: Annotated[PredictRequest, Body(openapi_examples=PREDICT_EXAMPLES)],
    request: Request,
    context: Reader,
    options: Options,
) -> Response:
    """Predict rows with the best epoch so far; 409 as long as there is none. Each row is predicted on its own.

    Probabilities are calibrated by the predictions of validation rows that the job keeps at its end; `calibration` says
    by what temperature, or why they are raw. An `interval` needs such predictions, and enough of them: else 409. If
    their file is missing or damaged on the server, an `interval` is a 500 with the code `predictions_corrupt`.

    Up to 10,000 rows as JSON, or any number as a CSV or Parquet file, selected by `Content-Type` (with the encoding of
    a CSV file, as in `text/csv; charset=cp1252`; default: detected): the response is a file of the same format with a
    row for each, with the column `prediction` and, for classes, `probability of CLASS`. With `interval` it also has the
    columns `lower` and `upper`, or `set`, a JSON array of classes. The file needs a column for
    every feature, in any order; other columns are ignored. Missing values and the format of dates are those of the
    data set that was trained on. The whole file is validated before the response starts.
    Weights that are missing or damaged on the server are a 500 with the code `checkpoint_corrupt`.
    """

    async def answer(best: BestEpoch) -> Response:
        by = {"checkpoint": {"epoch": best.checkpoint.epoch, "sha256": best.checkpoint.sha256}}
        ref = await context.located(model_of, context, best)
        return await predicted_rows(context, request, ref, options, asked.rows, by)

    _, response = await with_best(context, job_id, answer)
    return response


async def predicted_rows(
    context: RequestContext,
    request: Request,
    ref: ModelRef,
    options: PredictionOptions,
    rows: list[dict[str, Any]],
    by: dict[str, Any],
    headers: dict[str, str] | None = None,
    more: Callable[[PredictedRows], dict[str, Any]] | None = None,
) -> Response:
    """The predictions as JSON beside `by`, which says what made them, and `more`, computed from them in a thread."""
    predictor, slots = context.state.predictor, context.state.predict_slots
    if more is None and len(rows) <= max(1, FEW_ROWS // len(ref.members)):
        coroutine = predictor.predict_few(context.caller.tenant, ref, rows, options)
        body = _body(await expensive_work.until_disconnect(request, coroutine), by)
        if len(body) <= MAX_BUFFERED_BYTES:
            return Response(body, headers=headers, media_type=JSON)
        return await expensive_work.run(context, request, slots, _from_disk, context, body, headers)

    def many() -> Response:
        # Serialized here, in the thread, to keep the event loop free.
        found = predictor.predict(ref, rows, options)
        body = _body(found, by if more is None else {**by, **more(found)})
        if len(body) <= MAX_BUFFERED_BYTES:
            return Response(body, headers=headers, media_type=JSON)
        return _from_disk(context, body, headers)

    return await expensive_work.run(context, request, slots, many)


def _body(found: PredictedRows, by: dict[str, Any]) -> bytes:
    calibration = None if found.calibration is None else found.calibration.model_dump()
    return json.dumps({"predictions": found.answers, "calibration": calibration, **by}).encode()


def _from_disk(context: RequestContext, body: bytes, headers: dict[str, str] | None) -> Response:
    with context.state.artifacts.scratch() as folder:
        (folder / "answer").write_bytes(body)
        file = current().close_on_discard((folder / "answer").open("rb"))
    return whole(file, headers or {}, JSON)


class BestEpoch(NamedTuple):
    """The best epoch of a job, and its predictions, kept at the end of the job."""

    checkpoint: Checkpoint
    predictions: JobFile | None


def model_of(context: RequestContext, best: BestEpoch) -> ModelRef:
    """The model of a job: one checkpoint. Blocks if its files have to be fetched."""
    path, kept = context.state.artifacts.path, best.predictions
    predictions = None if kept is None else (str(path(kept.path, kept.sha256)), kept.sha256)
    weights = str(path(best.checkpoint.path, best.checkpoint.sha256))
    return ModelRef((Member(weights, best.checkpoint.sha256, predictions=predictions),))


async def with_best(
    context: RequestContext, job_id: str, use: Callable[[BestEpoch], Awaitable[T]]
) -> tuple[BestEpoch, T]:
    """The best epoch so far, and the result of `use`; raises Conflict if the job has none.

    Retried as `with_current` does.
    """

    def read() -> BestEpoch:
        with context.database.reading() as connection:
            checkpoint = checkpoints.get(connection, job_id, CheckpointKind.best)
            return BestEpoch(checkpoint, job_files.find(connection, job_id, JobFileKind.predictions))

    try:
        return await with_current(context, read, (context.caller.tenant, job_id, "best epoch"), use)
    except NotFound as error:
        job = await run_in_threadpool(read_job, context, job_id)
        raise Conflict(f"the job is {job.status.value} and has no best epoch to predict with") from error
