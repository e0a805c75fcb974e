"""What a sweep has found, over HTTP: its jobs as a leaderboard, as JSON or CSV, and its points over seeds and folds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.deps import Page, Reader, SweepId, T
from service.api.openapi import problems
from service.api.requests import Route
from service.api.tables import CSV, Accept, as_csv, prefers_csv
from service.store import sweep_results
from service.store.sweep_results import Order
from service.sweep_records import SweepPoint, SweepResult

PAGE = 1_000
MAX_INT = 2**31 - 1

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=Route)

Offset = Annotated[int, Query(ge=0, le=MAX_INT, description="The `next` of the page before this one.")]
Rows = Annotated[int, Query(ge=1, le=PAGE, description="How many at most; CSV has no limit.")]


@router.get(
    "/{sweep_id}/results",
    operation_id="get_sweep_results",
    summary="Compare the jobs of a sweep",
    response_model=Page[SweepResult],
    responses={**problems(404), 200: {"content": CSV, "description": "A row a job, as JSON or as CSV."}},
)
def get_sweep_results(
    sweep_id: SweepId,
    service: Reader,
    response: Response,
    order: Annotated[Order, Query(description="`value`: the best first. `submitted`: in the sweep's order.")] = (
        Order.value
    ),
    limit: Rows = 100,
    after: Offset = 0,
    accept: Accept = "application/json",
) -> Page[SweepResult] | Response:
    """What each job has changed and what came out, the best first; jobs without a value come last.

    `next` counts rows: while jobs train, a row may move from one page to another. With `Accept: text/csv` all of them
    come at once, as a table.
    """
    csv = prefers_csv(accept)
    with service.database.reading() as connection:
        found = sweep_results.results(
            connection, sweep_id, order=order, limit=None if csv else limit + 1, offset=0 if csv else after
        )
    if csv:
        return as_csv(_table(found), f"{sweep_id}.csv")
    response.headers["Vary"] = "Accept"
    return _page(found, limit, after)


@router.get(
    "/{sweep_id}/summary",
    operation_id="get_sweep_summary",
    summary="Compare the points of a sweep",
    responses=problems(404),
)
def get_sweep_summary(
    sweep_id: SweepId,
    service: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="How many at most.")] = 100,
    after: Offset = 0,
) -> Page[SweepPoint]:
    """Mean and standard deviation over jobs that differ in nothing but their seed and their fold, the best mean first.

    Seeds come from `replicates`, or from `seed` in the grid or the points; folds from `folds`, or `split.fold`. With
    folds, the seeds of each are averaged first: the deviation is that over folds.
    """
    with service.database.reading() as connection:
        found = sweep_results.summary(connection, sweep_id)
    return _page(found[after : after + limit + 1], limit, after)


def _page(found: Sequence[T], limit: int, after: int) -> Page[T]:
    more = len(found) > limit
    return Page(data=list(found[:limit]), has_more=more, next=str(after + limit) if more else None)


def _table(found: list[SweepResult]) -> Iterator[list[list[Any]]]:
    """The header, then a row a job."""
    names = list(dict.fromkeys(name for row in found for name in row.point))
    measured = list(dict.fromkeys(name for row in found for name in row.metrics))
    tested = list(dict.fromkeys(name for row in found for name in row.test_metrics or {}))
    test = [f"test_{name}" for name in tested]
    yield [["job", "status", "stop_reason", *names, "best_epoch", "value", *measured, *test, "epochs", "seconds"]]
    for start in range(0, len(found), PAGE):
        yield [_cells(row, names, measured, tested) for row in found[start : start + PAGE]]


def _cells(row: SweepResult, names: list[str], measured: list[str], tested: list[str]) -> list[Any]:
    values = [row.point.get(name, "") for name in names]
    changes = [value if isinstance(value, str) else json.dumps(value) for value in values]
    numbers = [*(row.metrics.get(name) for name in measured), *((row.test_metrics or {}).get(name) for name in tested)]
    outcome = [row.best_epoch, row.value, *numbers, row.epochs, row.seconds]
    return [row.job, row.status.value, row.stop_reason and row.stop_reason.value, *changes, *outcome]
