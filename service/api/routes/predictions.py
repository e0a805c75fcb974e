"""The best epoch's answers to new rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from service.api.context import JobId, Reader, RequestContext
from service.api.http.media_types import CSV, JSON, PARQUET
from service.api.http.openapi import PREDICT_EXAMPLES, problems
from service.api.http.ranges import whole
from service.api.routes.checkpoints import with_weights
from service.api.routes.jobs import read_job
from service.api.strict_route import StrictRoute
from service.concurrency.cancellation import current
from service.concurrency.fair_slots import FairLimiter
from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.errors import Conflict, NotFound
from service.spec.base import Bool, ColumnName, Float, Strict
from service.spec.capped_errors import CapErrors
from service.spec.data import Int64
from service.spec.table import Value

router = APIRouter(prefix="/jobs", tags=["predictions"], route_class=StrictRoute)

T = TypeVar("T")

MAX_ROWS = 10_000
MAX_HELD_BYTES = 2**20
"""Of an answer: a longer one is sent from the disk, at the pace of its client."""

FILES: dict[str, Any] = {
    CSV: {"schema": {"type": "string"}},
    PARQUET: {"schema": {"type": "string", "format": "binary"}},
}
"""What is taken and answered beside JSON, by `predict_files.py`; documented here, since a path has one description."""
HEADERS = {
    "Checkpoint-Epoch": {"description": "Of a file: whose weights answered.", "schema": {"type": "integer"}},
    "Checkpoint-SHA256": {"description": "Of a file: SHA-256 of their file.", "schema": {"type": "string"}},
}

Cell = Bool | Int64 | Float | Annotated[str, StringConstraints(strict=True, max_length=10_000)] | None


class PredictRequest(Strict):
    """Rows to predict."""

    rows: Annotated[
        list[Annotated[dict[ColumnName, Cell], CapErrors()]], Field(min_length=1, max_length=MAX_ROWS), CapErrors()
    ]
    """Each row by column name, null where a value is missing, dates as RFC 3339 or ISO 8601 text (UTC where no zone
    is named); inline and synthetic data have columns x0, x1, ..."""


class Prediction(BaseModel):
    """The answer to one row."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prediction: Value | None
    """The class, or the number, in the target's own units; null for a number beyond what float64 holds."""
    probabilities: dict[str, float] | None = None
    """Each class and its probability; absent for regression."""


class PredictedBy(BaseModel):
    """The weights that answered."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    epoch: int
    """The epoch whose weights they are."""
    sha256: str
    """SHA-256 of the safetensors file."""


class Predictions(BaseModel):
    """An answer to each row."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    predictions: list[Prediction]
    """One a row, in the rows' order."""
    checkpoint: PredictedBy
    """The weights that answered."""


@router.post(
    "/{job_id}/predict",
    operation_id="predict",
    summary="Predict rows",
    response_model=Predictions,
    openapi_extra={"requestBody": {"content": FILES}},
    responses={**problems(400, 404, 409, 413, 415, 507), 200: {"content": FILES, "headers": HEADERS}},
)
async def predict(
    job_id: JobId,
    asked: Annotated[PredictRequest, Body(openapi_examples=PREDICT_EXAMPLES)],
    request: Request,
    context: Reader,
) -> Response:
    """Answer rows with the best epoch so far; 409 as long as there is none. A row's answer does not depend on others.

    Up to 10,000 rows as JSON. Or any number as a CSV or Parquet file, told by `Content-Type` (a CSV file's encoding
    too, as in `text/csv; charset=cp1252`; left out, it is found): the answer is a file of the same format with a row
    for each, of the column `prediction` and, for classes, `probability of CLASS`. Every feature must be among the
    file's columns, by name and in any order; others are passed over. What means a missing value and how dates are
    written is taken from the data set that was learnt from. The whole file is checked before the answer begins.
    Weights that the server has lost, or that have changed on its disk, are a 500 with the code `checkpoint_corrupt`.
    """

    def answer(checkpoint: Checkpoint, path: Path) -> Response:
        # Written here, in the thread: the event loop has others to serve.
        answers = context.state.predictor.predict(path, checkpoint.sha256, asked.rows)
        by = {"epoch": checkpoint.epoch, "sha256": checkpoint.sha256}
        body = json.dumps({"predictions": answers, "checkpoint": by}).encode()
        if len(body) <= MAX_HELD_BYTES:
            return Response(body, media_type=JSON)
        with context.state.artifacts.scratch() as folder:
            (folder / "answer").write_bytes(body)
            file = current().close_on_discard((folder / "answer").open("rb"))
        return whole(file, {}, JSON)

    _, response = await with_best(context, request, job_id, answer, limiter=context.state.predict_slots)
    return response


async def with_best(
    context: RequestContext,
    request: Request,
    job_id: str,
    use: Callable[[Checkpoint, Path], T],
    *,
    limiter: FairLimiter | None,
) -> tuple[Checkpoint, T]:
    """See `with_weights`; raises Conflict when the job has no best epoch."""
    try:
        return await with_weights(context, request, job_id, CheckpointKind.best, use, limiter=limiter)
    except NotFound as error:
        job = await run_in_threadpool(read_job, context, job_id)
        raise Conflict(f"the job is {job.status.value} and has no best epoch to predict with") from error
