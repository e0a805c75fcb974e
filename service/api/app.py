"""The API as one ASGI application, wired from its parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from service.api import dashboard
from service.api.context import Parts
from service.api.http import problems
from service.api.http.openapi import DESCRIPTION, TAGS, amend
from service.api.http.openapi import problems as documented
from service.api.live.job_feed import NewsRoom
from service.api.live.read_batcher import Reads
from service.api.live.single_flight import Probe
from service.api.live.watcher import Watcher
from service.api.middleware.auth import KeyRequired, Keys
from service.api.middleware.host_and_origin import Guard
from service.api.middleware.prometheus import Measured, Metrics
from service.api.middleware.rate_limit import Traffic
from service.api.middleware.request_id import RequestIds
from service.api.quota import Quota
from service.api.routes import (
    actions,
    catalog,
    checkpoints,
    dataset_files,
    datasets,
    epochs,
    events,
    forks,
    health,
    jobs,
    prediction_files,
    predictions,
    replay,
    stream,
    sweep_results,
    sweeps,
    usage,
)
from service.concurrency.fair_slots import FairLimiter
from service.settings import memory_bytes
from service.spec.limits import JobLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from service.api.context import Predictor
    from service.artifacts import Artifacts
    from service.settings import Settings
    from service.store.engine import Database

PARSING = 2  # large JSON bodies
# Slots, and how many of them one tenant may hold: the others find one, however long its work takes.
INGESTING = 3, 2  # each with a process that reads a file
PREDICTING = 16, 12  # which take turns at the helper
EXPORTING = 2, 1  # each in a process of its own, with torch
PREVIEWING = 4, 3  # each with a process that reads some rows
PLANNING = 8, 6  # of a job, planned or submitted: a wide data set's profile takes a second to read
COMPUTING = 4, 2  # seconds of this process's own time


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
        # To where the environment's usual OTEL_EXPORTER_OTLP_ENDPOINT says; nowhere without it.
        telemetry={"auto_configure": True, "logs": False},
        redirect_slashes=False,
    )
    app.state.parts = Parts(
        settings=settings,
        limits=_limits(settings),
        database=database,
        artifacts=artifacts,
        predictor=predictor,
        keys=Keys(settings, database),
        traffic=Traffic(settings.max_requests_per_second, settings.max_streams),
        quota=Quota(settings.max_tenant_bytes),
        watcher=watcher,
        news=NewsRoom(),
        reads=Reads(),
        metrics=Metrics(database, {"home": settings.home, "artifacts": settings.artifacts}),
        probe=Probe(),
        parsing=CapacityLimiter(PARSING),
        ingesting=FairLimiter(*INGESTING),
        predicting=FairLimiter(*PREDICTING),
        exporting=FairLimiter(*EXPORTING),
        previewing=FairLimiter(*PREVIEWING),
        planning=FairLimiter(*PLANNING),
        computing=FairLimiter(*COMPUTING),
    )
    _add_routes(app)
    amend(app)
    problems.install(app)
    _add_middleware(app, settings, app.state.parts)
    return app


def _limits(settings: Settings) -> JobLimits:
    """What a job may ask for."""
    return JobLimits(
        parameters=settings.max_parameters,
        epochs=settings.max_epochs,
        seconds=settings.max_seconds or None,
        memory_bytes=settings.max_job_bytes or memory_bytes(),
    )


def _add_middleware(app: FastAPI, settings: Settings, parts: Parts) -> None:
    """The first one is the innermost."""
    app.add_middleware(KeyRequired, keys=parts.keys, traffic=parts.traffic, metrics=parts.metrics)
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
    app.add_middleware(Measured, metrics=parts.metrics)


def _add_routes(app: FastAPI) -> None:
    guarded = documented(401, 403, 422, 429, 500, 503)
    for noun in (
        jobs,
        actions,
        forks,
        epochs,
        replay,
        stream,
        events,
        checkpoints,
        prediction_files,
        predictions,
        sweeps,
        sweep_results,
        datasets,
        dataset_files,
        catalog,
        usage,
    ):
        app.include_router(noun.router, prefix="/v1", responses=guarded)
    app.include_router(health.router, responses=documented(422, 500))
    app.include_router(health.figures, responses=guarded)
    dashboard.install(app)
