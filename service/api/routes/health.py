"""Liveness and readiness probes, and Prometheus metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from service.api.context import Operator, PublicState
from service.api.http.openapi import problems
from service.api.middleware.merged_metrics import families_of
from service.api.strict_route import StrictRoute
from service.errors import StorageError, Unavailable
from service.spec.documented import Documented
from service.store import migrations, workers
from service.store.engine import is_writable

if TYPE_CHECKING:
    from service.api.context import AppState

router = APIRouter(tags=["service"], route_class=StrictRoute)
metrics_router = APIRouter(tags=["service"], route_class=StrictRoute)  # needs the operator's key


class Health(Documented):
    """Liveness."""

    status: Literal["ok"] = "ok"
    """Always `ok`."""


class Readiness(Documented):
    """Readiness."""

    status: Literal["ready"] = "ready"
    """Always `ready`: a server that is not answers 503."""
    workers: int
    """Live workers; without one, jobs stay queued."""


@router.get("/healthz", operation_id="get_health", summary="Liveness probe")
async def get_health() -> Health:
    """Does not query the database, so that a slow database does not cause restarts. Answers any `Host`."""
    return Health()


@router.get("/readyz", operation_id="get_readiness", summary="Readiness probe", responses=problems(503))
async def get_readiness(state: PublicState) -> Readiness:
    """200 if the database is reachable, writable and has a compatible schema, and the artifact store usable; else
    503, as after five seconds without a result. Answers any `Host`."""
    return await state.readiness_check.run(partial(_check, state))


def _check(state: AppState) -> Readiness:
    with state.database.reading(prompt=True) as connection:
        migrations.check(connection)
        if not is_writable(connection):
            raise Unavailable("the database takes no writes: it is read-only")
        alive = workers.find(connection)
    try:
        state.artifacts.check()
    except StorageError as error:
        raise Unavailable(error.detail) from error
    return Readiness(workers=len(alive))


@metrics_router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Read Prometheus metrics",
    response_class=PlainTextResponse,
    response_description="Prometheus's text format.",
)
async def get_metrics(context: Operator) -> PlainTextResponse:
    """Jobs by status, stop reason and error code, queue time, workers, stored bytes; requests of this process, or of
    each of the processes that share its port, with a label `process`."""
    metrics, link = context.state.metrics, context.state.parent_link
    if link is None:
        return PlainTextResponse(await run_in_threadpool(metrics.text))
    of_processes = {f"{link.place.number}": families_of(metrics.own), **await link.other_metrics()}
    return PlainTextResponse(await run_in_threadpool(metrics.text, of_processes))
