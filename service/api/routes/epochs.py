"""GET /v1/jobs/{id}/history: the epochs of a job, a page as JSON or all as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.context import JobId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.http.ranges import CSV, JSON
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT, Accept, TabularData, as_csv, as_file, preferred
from service.data.processes.write_parquet import Kind
from service.domain.epoch import Epoch
from service.spec.documented import Documented
from service.store import epochs
from service.store.jobs import jobs

PAGE = 1_000
MAX_INT = 2**31 - 1

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=StrictRoute)

_HEAD = {"epoch": Kind.whole, "train_loss": Kind.number, "val_loss": Kind.number}
_TAIL = {
    "lr": Kind.number,
    "seconds": Kind.number,
    "improved": Kind.flag,
    "is_best": Kind.flag,
    "wait": Kind.whole,
    "closeness": Kind.number,
    "reason": Kind.text,
}

AfterEpoch = Annotated[int, Query(ge=0, le=MAX_INT, description="Only epochs after this one.")]


class History(Documented):
    """Epochs of a job, in order."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[Epoch]
    """The epochs."""
    has_more: bool
    """Whether more are recorded after these."""
    next: int | None
    """Send it as `after_epoch` for the next page; null on the last one."""


@router.get(
    "/{job_id}/history",
    operation_id="get_history",
    summary="Read the epochs of a job",
    response_model=History,
    responses={
        **problems(404, 413, 507),
        200: {"content": TABULAR_CONTENT, "description": "Epochs, as JSON, CSV or Parquet."},
    },
)
async def get_history(
    job_id: JobId,
    context: Reader,
    request: Request,
    response: Response,
    after_epoch: AfterEpoch = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="How many at most; a table has no limit.")] = PAGE,
    accept: Accept = JSON,
) -> History | Response:
    """The losses and metrics of each epoch, and the decision of early stopping with its reason.

    With `Accept: text/csv` or `application/vnd.apache.parquet` all epochs are sent as one table.
    A Parquet file is complete before the response starts: about 25 seconds for a million epochs.
    """
    wanted = preferred(accept)
    everything = partial(table, context, job_id, after_epoch)
    if wanted == CSV:
        return as_csv(await context.state.read_batcher.run(everything))
    if wanted != JSON:
        return await as_file(everything, wanted, context, request)
    response.headers["Vary"] = "Accept"
    found = await context.state.read_batcher.run(partial(_read, context, job_id, after_epoch, limit + 1))
    data, more = found[:limit], len(found) > limit
    return History(data=data, has_more=more, next=data[-1].epoch if more else None)


def _read(context: RequestContext, job_id: str, after_epoch: int, limit: int) -> list[Epoch]:
    with context.database.reading() as connection:
        found = epochs.read(connection, job_id, after_epoch=after_epoch, limit=limit)
        if not found:
            jobs.require(connection, job_id)
        return found


def pages(context: RequestContext, job_id: str, after_epoch: int = 0) -> Iterator[list[Epoch]]:
    """All epochs after `after_epoch` in pages, at least one (empty); no transaction is open between pages."""
    while True:
        with context.database.reading() as connection:
            rows = epochs.read(connection, job_id, after_epoch=after_epoch, limit=PAGE)
        yield rows
        if len(rows) < PAGE:
            return
        after_epoch = rows[-1].epoch


def table(context: RequestContext, job_id: str, after_epoch: int = 0) -> TabularData:
    """All epochs after `after_epoch`, with a column per metric of the first epoch; read lazily. Raises NotFound."""
    with context.database.reading() as connection:
        jobs.require(connection, job_id)
    following = pages(context, job_id, after_epoch)
    first = next(following)
    metrics = list(first[0].metrics) if first else []
    columns = {**_HEAD, **dict.fromkeys(metrics, Kind.number), **_TAIL}
    rows = ([_cells(row, metrics) for row in page] for page in chain([first], following))
    return TabularData(f"{job_id}-history", columns, rows)


def _cells(row: Epoch, metrics: list[str]) -> list[Any]:
    measured = [getattr(row, name) for name in _HEAD] + [row.metrics.get(name) for name in metrics]
    return measured + [getattr(row, name) for name in _TAIL]
