"""Whether the server lives, whether it can work, and what it has to do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from service.api.context import Operator, PublicState
from service.api.http.openapi import problems
from service.api.strict_route import StrictRoute
from service.errors import StorageError, Unavailable
from service.store import migrations, workers
from service.store.engine import is_writable

if TYPE_CHECKING:
    from service.api.context import AppState

router = APIRouter(tags=["service"], route_class=StrictRoute)
metrics_router = APIRouter(tags=["service"], route_class=StrictRoute)  # for the operator


class Health(BaseModel):
    """The server lives."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["ok"] = "ok"
    """Always `ok`."""


class Readiness(BaseModel):
    """The server can work."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["ready"] = "ready"
    """Always `ready`: a server that is not answers 503."""
    workers: int
    """Workers alive; without one, jobs stay queued."""


@router.get("/healthz", operation_id="get_health", summary="Ask whether the server lives")
async def get_health() -> Health:
    """Answers without asking the database, so that a slow one restarts nobody."""
    return Health()


@router.get("/readyz", operation_id="get_readiness", summary="Ask whether the server can work", responses=problems(503))
async def get_readiness(state: PublicState) -> Readiness:
    """Whether the database can be reached, takes writes and has a schema that this version can use, and the artifact
    store can be written to; 503 as well when this is not known within five seconds."""
    return await state.readiness_check.run(partial(_check, state))


def _check(state: AppState) -> Readiness:
    with state.database.reading() as connection:
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
    summary="Read metrics_router for Prometheus",
    response_class=PlainTextResponse,
    response_description="Prometheus's text format.",
)
def get_metrics(context: Operator) -> PlainTextResponse:
    """Jobs by status, stop reason and error code, how long the first has waited, workers, bytes stored; requests."""
    return PlainTextResponse(context.state.metrics.text())
