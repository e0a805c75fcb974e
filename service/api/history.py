"""The epochs of a job over HTTP: a page as JSON, or all of them as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from service.api.deps import JobId, Reader, Service
from service.api.jobs import read_job
from service.api.openapi import problems
from service.api.requests import Route
from service.api.tables import CSV, Accept, as_csv, prefers_csv
from service.lifecycle import Epoch
from service.store import history, jobs

PAGE = 1_000
MAX_INT = 2**31 - 1

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=Route)

AfterEpoch = Annotated[int, Query(ge=0, le=MAX_INT, description="Only epochs after this one.")]


class History(BaseModel):
    """Epochs of a job, in order."""

    model_config = ConfigDict(use_attribute_docstrings=True)

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
        **problems(404),
        200: {"content": CSV, "description": "Epochs, as JSON or as CSV."},
    },
)
async def get_history(
    job_id: JobId,
    service: Reader,
    response: Response,
    after_epoch: AfterEpoch = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="How many at most; CSV has no limit.")] = PAGE,
    accept: Accept = "application/json",
) -> History | Response:
    """What each epoch measured, and what early stopping made of it and why.

    With `Accept: text/csv` all of them come at once, as a table.
    """
    if prefers_csv(accept):
        await service.parts.reads.run(partial(read_job, service, job_id))
        return as_csv(table(service, job_id, after_epoch), f"{job_id}-history.csv")
    response.headers["Vary"] = "Accept"
    found = await service.parts.reads.run(partial(_read, service, job_id, after_epoch, limit + 1))
    data, more = found[:limit], len(found) > limit
    return History(data=data, has_more=more, next=data[-1].epoch if more else None)


def _read(service: Service, job_id: str, after_epoch: int, limit: int) -> list[Epoch]:
    with service.database.reading() as connection:
        found = history.read(connection, job_id, after_epoch=after_epoch, limit=limit)
        if not found:
            jobs.get(connection, job_id)  # says so where there is no such job
        return found


def pages(service: Service, job_id: str, after_epoch: int = 0) -> Iterator[list[Epoch]]:
    """Every epoch after `after_epoch`, a page at a time, at least one; no transaction is open between two."""
    while True:
        with service.database.reading() as connection:
            rows = history.read(connection, job_id, after_epoch=after_epoch, limit=PAGE)
        yield rows
        if len(rows) < PAGE:
            return
        after_epoch = rows[-1].epoch


def table(service: Service, job_id: str, after_epoch: int = 0) -> Iterator[list[list[Any]]]:
    """Epochs as CSV has them: the header, then the rows a page at a time."""
    names: list[str] | None = None
    for rows in pages(service, job_id, after_epoch):
        if names is None:
            names = list(rows[0].metrics) if rows else []
            tail = ["lr", "seconds", "improved", "is_best", "wait", "closeness", "reason"]
            yield [["epoch", "train_loss", "val_loss", *names, *tail]]
        yield [_cells(row, names) for row in rows]


def _cells(row: Epoch, names: list[str]) -> list[Any]:
    metrics = [row.metrics.get(name) for name in names]
    flags = ["true" if flag else "false" for flag in (row.improved, row.is_best)]
    decision = [*flags, row.wait, row.closeness, row.reason]
    return [row.epoch, row.train_loss, row.val_loss, *metrics, row.lr, row.seconds, *decision]
