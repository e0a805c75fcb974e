"""Which parameters of a sweep matter."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api import expensive_work
from service.api.context import Reader, RequestContext, SweepId
from service.api.http.openapi import problems
from service.api.strict_route import StrictRoute
from service.domain.importance import ParameterImportance, ParameterLeftOut, SweepImportance
from service.errors import Conflict
from service.search.importance import shares
from service.search.parameter_columns import columns_of, scaled
from service.store import sweeps
from service.store.point_values import point_values

MIN_POINTS = 8
MAX_POINTS = 256  # the time grows with the square of the number: 4 seconds for 256

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=StrictRoute)


@router.get(
    "/{sweep_id}/importance",
    operation_id="get_sweep_importance",
    summary="Rank the parameters of a sweep by importance",
    responses=problems(404, 409, 501),
)
async def get_sweep_importance(sweep_id: SweepId, context: Reader, request: Request) -> SweepImportance:
    """How much of the variance of the points' values each changed field explains by itself, by functional ANOVA of a
    random forest (Hutter et al. 2014, Optuna's implementation).

    A point's value is its mean over seeds and folds, that of a pruned point from the epochs that it has trained. The
    same points give the same answer. With fewer than 8 points with a value, or equal values, the answer is a 409. The
    server needs scikit-learn (`bestepoch[baseline]`), else it is a 501.
    """
    return await expensive_work.run(context, request, context.state.report_slots, _importance, context, sweep_id)


def _importance(context: RequestContext, sweep_id: str) -> SweepImportance:
    with context.database.reading() as connection:
        sweep = sweeps.get(connection, sweep_id)
        names, points = point_values(connection, sweep_id, MAX_POINTS)
    target = [point.value for point in points]
    if len(points) < MIN_POINTS:
        count = "1 point has" if len(points) == 1 else f"{len(points)} points have"
        raise Conflict(f"importance of parameters needs at least {MIN_POINTS} points with a value: {count} one so far")
    if min(target) == max(target):
        raise Conflict(f"importance of parameters needs points that differ: all have {sweep.monitor} {target[0]:.6g}")
    columns, left_out = columns_of([point.fields for point in points], names, sweep.space or {})
    found = shares(columns, scaled(target), context.state.file_process_limits) if columns else []
    ranked = sorted(zip(found, columns, strict=True), key=lambda each: -each[0])
    return SweepImportance(
        sweep=sweep_id,
        monitor=sweep.monitor,
        points=len(points),
        parameters=[ParameterImportance(name=each.name, importance=share, scale=each.scale) for share, each in ranked],
        left_out=[ParameterLeftOut(name=name, reason=reason) for name, reason in left_out.items()],
    )
