"""GET /v1/jobs/{id}/predictions: the kept predictions of a job, a page as JSON or all as CSV or Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.http.ranges import CSV, JSON, whole
from service.api.routes.predictions import PredictedBy, Prediction
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT, Accept, preferred
from service.concurrency.cancellation import current
from service.data.processes.read_predictions import Part, read_page, write_part
from service.domain.event import EventKind
from service.domain.job_file import JobFile, JobFileKind
from service.domain.status import ENDED, Status
from service.errors import Conflict, NotFound, PredictionsCorrupt
from service.spec.documented import Documented
from service.spec.read_options import FileFormat
from service.spec.table import Value
from service.store import job_files
from service.store.jobs import events, jobs

PAGE = 1_000
MAX_PAGE = 10_000
MAX_INT = 2**31 - 1
NONE_KEPT = (
    "it has no validation and test rows, the worker's BESTEPOCH_KEEP leaves them out, "
    "or it was trained by an older version"
)
NO_TRAINER = {
    Status.cancelled: "it was cancelled while no worker was training it",
    Status.failed: "its training failed with an error",
    Status.pruned: "its sweep pruned it; once resumed, it trains to its end and keeps them",
}
"""Jobs of these statuses may have a best epoch, but had no trainer to predict with it."""

router = APIRouter(prefix="/jobs", tags=["predictions"], route_class=StrictRoute)


class KeptPrediction(Prediction):
    """The prediction for a validation or test row, beside the true value."""

    row: int
    """The row's number in the data set, from 0."""
    part: Part
    """The part of the split that has the row."""
    truth: Value
    """The class or the number in the data set."""


class KeptPredictions(Documented):
    """Predictions for validation rows, then test rows, each in the order of its part of the split."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[KeptPrediction]
    """The predictions."""
    has_more: bool
    """Whether there are more behind these."""
    next: int | None
    """Send it as `offset` for the next page; null on the last one."""
    checkpoint: PredictedBy
    """The weights used: the best checkpoint."""


@router.get(
    "/{job_id}/predictions",
    operation_id="get_predictions",
    summary="Read the predictions for validation and test rows",
    response_model=KeptPredictions,
    responses={
        **problems(404, 409, 413, 507),
        200: {"content": TABULAR_CONTENT, "description": "Predictions, as JSON, CSV or Parquet."},
    },
)
async def get_predictions(
    job_id: JobId,
    context: Reader,
    request: Request,
    part: Annotated[Part | None, Query(description="Only the rows of this part of the split.")] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_INT, description="How many to leave out at the start.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most; a file has no limit.")] = PAGE,
    accept: Accept = JSON,
) -> Response:
    """What the best epoch's weights predict for the rows that it was not trained on, stored when the job ended.

    Probabilities are raw, not calibrated. A page has fewer predictions than `limit` where there are many classes. With
    `Accept: text/csv` or `application/vnd.apache.parquet` all are sent as one file, with the columns `row`, `part`,
    `truth`, `prediction` and, for classes, `probability of CLASS`.

    409 until the job has ended. 404 where no predictions were kept, which the message explains: a job without a best
    epoch or without validation and test rows, one that was cancelled while no worker was training it or that failed
    with an error, more than 50 million values (rows x classes), a full disk, a `BESTEPOCH_KEEP` without `predictions`,
    or an older version of the service. A file that is missing or damaged on the server is a 500 with the code
    `predictions_corrupt`.
    """
    wanted = preferred(accept)
    if wanted == JSON:
        slots = context.state.preview_slots
        return await expensive_work.run(context, request, slots, _page, context, job_id, part, offset, limit)
    name = f"{job_id}-predictions{f'-{part}' if part else ''}"
    kind = FileFormat.csv if wanted == CSV else FileFormat.parquet
    slots = context.state.ingest_slots
    file = await expensive_work.run(context, request, slots, _written, context, job_id, part, kind)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind.value}"', "Vary": "Accept"}
    return whole(file, headers, wanted)


def _page(context: RequestContext, job_id: str, part: Part | None, offset: int, limit: int) -> Response:
    path = _path(context, find_kept(context, job_id))
    page = read_page(path, part, offset, limit, context.state.file_process_limits)
    body = {
        "object": "list",
        "data": page.rows,
        "has_more": page.more,
        "next": offset + len(page.rows) if page.more else None,
        "checkpoint": {"epoch": page.epoch, "sha256": page.sha256},
    }
    # Serialized here, in the thread, to keep the event loop free.
    return Response(json.dumps(body), media_type=JSON, headers={"Vary": "Accept"})


def _written(context: RequestContext, job_id: str, part: Part | None, kind: FileFormat) -> BinaryIO:
    """The file in this format, open and already unlinked."""
    path = _path(context, find_kept(context, job_id))
    with context.state.artifacts.scratch() as folder:
        target = folder / "predictions"
        write_part(path, part, kind, target, context.state.file_process_limits)
        return _open(target)


def find_kept(context: RequestContext, job_id: str) -> JobFile:
    """The file of the job's predictions; raises NotFound, and Conflict while the job is live, saying why."""
    with context.database.reading() as connection:
        kept = job_files.find(connection, job_id, JobFileKind.predictions)
        if kept is not None:
            return kept
        job = jobs.get(connection, job_id)
        message = events.last_message(connection, job_id, EventKind.predictions_not_kept)
    if job.status not in ENDED:
        raise Conflict(f"the job is {job.status.value}; its predictions are stored when it ends")
    if job.best is None:
        raise NotFound(f"the job has no predictions: it is {job.status.value} without a best epoch")
    reasons = ", ".join(filter(None, (NO_TRAINER.get(job.status), NONE_KEPT)))
    raise NotFound(message or f"the job has no predictions: {reasons}")


def _path(context: RequestContext, kept: JobFile) -> Path:
    path = context.state.artifacts.path(kept.path, kept.sha256)
    if not path.exists():
        raise PredictionsCorrupt("the file of the predictions is missing")
    return path


def _open(path: Path) -> BinaryIO:
    try:
        return current().close_on_discard(path.open("rb"))
    except OSError as error:
        raise PredictionsCorrupt(f"the file of the predictions cannot be read: {error.strerror}") from error
