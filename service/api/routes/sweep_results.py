"""Results of a sweep: its jobs as a leaderboard, and its configurations averaged over seeds and folds."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext, SweepId
from service.api.http.openapi import problems
from service.api.http.ranges import CSV, JSON
from service.api.pagination import Page, offset_page
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT, Accept, TabularData, as_file, preferred
from service.data.processes.write_parquet import Kind
from service.domain.sweep import SweepPoint, SweepResult
from service.store import sweep_results
from service.store.sweep_results import Order

PAGE = 1_000
MAX_INT = 2**31 - 1

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=StrictRoute)

Offset = Annotated[int, Query(ge=0, le=MAX_INT, description="The `next` of the page before this one.")]
Rows = Annotated[int, Query(ge=1, le=PAGE, description="How many at most; a table has no limit.")]


@router.get(
    "/{sweep_id}/results",
    operation_id="get_sweep_results",
    summary="Compare the jobs of a sweep",
    response_model=Page[SweepResult],
    responses={
        **problems(404, 413, 507),
        200: {"content": TABULAR_CONTENT, "description": "A row a job, as JSON, CSV or Parquet."},
    },
)
async def get_sweep_results(
    sweep_id: SweepId,
    context: Reader,
    request: Request,
    response: Response,
    order: Annotated[Order, Query(description="`value`: the best first. `submitted`: in the sweep's order.")] = (
        Order.value
    ),
    limit: Rows = 100,
    after: Offset = 0,
    accept: Accept = JSON,
) -> Page[SweepResult] | Response:
    """The changes and the metrics of each job, best first; jobs without a value come last.

    `next` counts rows: while jobs train, a row may move from one page to another. With `Accept: text/csv` or
    `application/vnd.apache.parquet` all rows are sent as one table.
    """
    wanted = preferred(accept)
    if wanted != JSON:

        def everything() -> TabularData:
            return _table(sweep_id, _read(context, sweep_id, order, None, 0), typed=wanted != CSV)

        return await as_file(everything, wanted, context, request)
    response.headers["Vary"] = "Accept"
    return offset_page(await run_in_threadpool(_read, context, sweep_id, order, limit + 1, after), limit, after)


def _read(context: RequestContext, sweep_id: str, order: Order, limit: int | None, offset: int) -> list[SweepResult]:
    with context.database.reading() as connection:
        return sweep_results.results(connection, sweep_id, order=order, limit=limit, offset=offset)


@router.get(
    "/{sweep_id}/summary",
    operation_id="get_sweep_summary",
    summary="Compare the configurations of a sweep",
    responses=problems(404),
)
async def get_sweep_summary(
    sweep_id: SweepId,
    context: Reader,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="How many at most.")] = 100,
    after: Offset = 0,
) -> Page[SweepPoint]:
    """Mean, standard deviation and standard error over jobs that differ only in seed, fold and repeat, best mean first.

    Seeds come from `replicates`, or from `seed` in the grid or the points; folds from `folds`, or `split.fold`. With
    folds, the seeds of each fold are averaged first: the deviation is over the folds of all repeats. `versus_best` says
    whether a configuration can be told from the best one: a paired t test over the seeds or folds that both have,
    corrected for the training rows that folds share, and for the number of configurations. Seeds alone say nothing
    about other validation rows. With one run a configuration the verdict is `unknown`.
    """
    found = await expensive_work.run(context, request, context.state.compute_slots, _summary, context, sweep_id)
    return offset_page(found[after : after + limit + 1], limit, after)


def _summary(context: RequestContext, sweep_id: str) -> list[SweepPoint]:
    with context.database.reading() as connection:
        return sweep_results.summary(connection, sweep_id)


def _table(sweep_id: str, found: list[SweepResult], *, typed: bool) -> TabularData:
    """One row per job; `typed`: changed numbers and booleans keep their type, instead of text."""
    names = list(dict.fromkeys(name for row in found for name in row.point))
    changed = {name: _kind([row.point.get(name) for row in found]) if typed else Kind.text for name in names}
    measured = list(dict.fromkeys(name for row in found for name in row.metrics))
    tested = list(dict.fromkeys(name for row in found for name in row.test_metrics or {}))
    columns = {
        **dict.fromkeys(("job", "status", "stop_reason"), Kind.text),
        **changed,
        "best_epoch": Kind.whole,
        "value": Kind.number,
        **dict.fromkeys([*measured, *(f"test_{name}" for name in tested)], Kind.number),
        "epochs": Kind.whole,
        "seconds": Kind.number,
    }
    starts = range(0, len(found), PAGE)
    pages = ([_cells(row, changed, measured, tested) for row in found[start : start + PAGE]] for start in starts)
    return TabularData(sweep_id, columns, pages)


def _kind(values: list[Any]) -> Kind:
    """The column type of these values; text for mixed types, and for anything but numbers and booleans."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return Kind.flag
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return Kind.whole
    return Kind.number if kinds and kinds <= {int, float} else Kind.text


def _cells(row: SweepResult, changed: dict[str, Kind], measured: list[str], tested: list[str]) -> list[Any]:
    changes = [_change(row.point[name], kind) if name in row.point else None for name, kind in changed.items()]
    numbers = [*(row.metrics.get(name) for name in measured), *((row.test_metrics or {}).get(name) for name in tested)]
    outcome = [row.best_epoch, row.value, *numbers, row.epochs, row.seconds]
    return [row.job, row.status.value, row.stop_reason and row.stop_reason.value, *changes, *outcome]


def _change(value: Any, kind: Kind) -> Any:
    return value if kind is not Kind.text or isinstance(value, str) else json.dumps(value)
