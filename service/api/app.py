"""The API as one ASGI application, wired from its parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from fastapi import APIRouter, Depends
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline

from service.api import (
    catalog,
    checkpoints,
    control,
    dataset_files,
    datasets,
    events,
    forks,
    health,
    history,
    jobs,
    predict,
    predict_files,
    problems,
    replay,
    stream,
    sweep_results,
    sweeps,
)
from service.api.deps import Parts
from service.api.guard import Guard
from service.api.metrics import Measured, Metrics
from service.api.middleware import ApiKeys, RequestIds
from service.api.news import NewsRoom
from service.api.openapi import DESCRIPTION, TAGS, say_problems
from service.api.openapi import problems as documented
from service.api.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from service.api.deps import Predictor
    from service.artifacts import Artifacts
    from service.settings import Settings
    from service.store.engine import Database

INGESTING = 2
PREDICTING = 4


def create_app(settings: Settings, database: Database, artifacts: Artifacts, predictor: Predictor) -> FastAPI:
    """The API over these parts; opening and closing them stays with the caller."""
    watcher = Watcher(database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        yield
        watcher.stop()
        await watcher.join()

    app = FastAPIOffline(
        redoc_url=None,
        title="bestepoch",
        summary="Training as a service",
        description=DESCRIPTION,
        version=version("bestepoch"),
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    threads = CapacityLimiter(INGESTING), CapacityLimiter(PREDICTING)
    metrics = Metrics(database)
    app.state.parts = Parts(settings, database, artifacts, predictor, watcher, NewsRoom(database), metrics, *threads)
    _add_routes(app, protected=settings.api_key is not None)
    say_problems(app)
    problems.install(app)
    if settings.api_key is not None:
        app.add_middleware(ApiKeys, key=settings.api_key.get_secret_value())
    if settings.sites:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(settings.sites),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Last-Event-ID",
                "Range",
                "If-None-Match",
            ],
            expose_headers=["Location", "ETag", "Retry-After", "X-Request-Id", "Content-Disposition"],
        )
    app.add_middleware(Guard, hosts=settings.names, origins=settings.sites)
    app.add_middleware(RequestIds)
    app.add_middleware(Measured, metrics=metrics)
    return app


def _add_routes(app: FastAPI, *, protected: bool) -> None:
    # The middleware checks the key; this is for the documentation and its Authorize button.
    bearer = [Depends(HTTPBearer(auto_error=False, description="The server's API key."))] if protected else []
    v1 = APIRouter(
        prefix="/v1", dependencies=bearer, responses=documented(*([401] if protected else []), 422, 500, 503)
    )
    for noun in (
        jobs,
        control,
        forks,
        history,
        replay,
        stream,
        events,
        checkpoints,
        predict_files,
        predict,
        sweeps,
        sweep_results,
        datasets,
        dataset_files,
        catalog,
    ):
        v1.include_router(noun.router)
    app.include_router(v1)
    app.include_router(health.router, responses=documented(422, 500))
    app.include_router(health.figures, dependencies=bearer, responses=documented(422, 500))
