"""The decisions of a sweep."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.context import Reader, SweepId
from service.api.http.openapi import problems
from service.api.pagination import Page, offset_page
from service.api.strict_route import StrictRoute
from service.domain.sweep import Decision
from service.store import decisions, sweeps

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=StrictRoute)

PAGE = 1_000
MAX_INT = 2**31 - 1


@router.get(
    "/{sweep_id}/decisions",
    operation_id="list_sweep_decisions",
    summary="Read the decisions of a sweep",
    responses=problems(404),
)
def list_sweep_decisions(
    sweep_id: SweepId,
    context: Reader,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="How many at most.")] = 100,
    after: Annotated[int, Query(ge=0, le=MAX_INT, description="The `next` of the page before this one.")] = 0,
) -> Page[Decision]:
    """Every proposal, promotion, pruning and publication with its reason, in order. They depend on the sweep and its
    data alone: the same sweep takes the same decisions on any number of workers, but for a budget in seconds.
    """
    with context.database.reading() as connection:
        sweeps.require(connection, sweep_id)
        found = decisions.find(connection, sweep_id, limit=limit + 1, after=after)
    return offset_page(found, limit, after)
