"""The best epoch's answers to new rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from service.api.checkpoints import with_weights
from service.api.deps import JobId, Service
from service.api.jobs import read_job
from service.api.openapi import problems
from service.api.requests import Route
from service.errors import Conflict, NotFound
from service.lifecycle import Checkpoint, CheckpointKind
from service.spec.base import Bool, ColumnName, Float, Strict
from service.spec.data import Int64
from service.spec.table import Value

router = APIRouter(prefix="/jobs", tags=["predictions"], route_class=Route)

MAX_ROWS = 10_000

Cell = Bool | Int64 | Float | Annotated[str, StringConstraints(strict=True, max_length=10_000)] | None


class PredictRequest(Strict):
    """Rows to predict."""

    rows: Annotated[list[dict[ColumnName, Cell]], Field(min_length=1, max_length=MAX_ROWS)]
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
    responses=problems(400, 404, 409, 413, 415),
)
async def predict(job_id: JobId, asked: Annotated[PredictRequest, Body()], service: Service) -> Response:
    """Answer up to 10,000 rows with the best epoch so far; 409 as long as there is none."""

    def answer(checkpoint: Checkpoint, path: Path) -> Response:
        # Written here, in the thread: the event loop has others to serve.
        answers = service.predictor.predict(path, checkpoint.sha256, asked.rows)
        by = {"epoch": checkpoint.epoch, "sha256": checkpoint.sha256}
        return Response(json.dumps({"predictions": answers, "checkpoint": by}), media_type="application/json")

    try:
        _, response = await with_weights(service, job_id, CheckpointKind.best, answer, limiter=service.predicting)
    except NotFound as error:
        job = await run_in_threadpool(read_job, service, job_id)
        raise Conflict(f"the job is {job.status.value} and has no best epoch to predict with") from error
    return response
