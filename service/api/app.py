"""The ASGI application: routes, middleware and the state that requests share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from threading import Event
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from service.api import dashboard
from service.api.context import AppState
from service.api.http import problems
from service.api.http.openapi import DESCRIPTION, TAGS, amend
from service.api.http.openapi import problems as documented
from service.api.live.job_feed import JobFeed
from service.api.live.job_reader import JobReader
from service.api.live.read_batcher import ReadBatcher
from service.api.live.sampler import Sampler
from service.api.live.single_flight import SingleFlight
from service.api.live.watcher import Watcher
from service.api.middleware.auth import ApiKeyAuthenticator, ApiKeyMiddleware
from service.api.middleware.host_and_origin import HostAndOriginMiddleware
from service.api.middleware.merged_metrics import families_of
from service.api.middleware.prometheus import Metrics, MetricsMiddleware
from service.api.middleware.rate_limit import RateLimiter
from service.api.middleware.request_id import RequestIdMiddleware
from service.api.processes.parent_link import SharedSlots
from service.api.processes.shared_limits import SharedLimits
from service.api.quota import StorageQuota
from service.api.routes import (
    actions,
    advice,
    catalog,
    checkpoints,
    connections,
    dataset_files,
    dataset_uploads,
    datasets,
    demand,
    drift,
    epochs,
    events,
    forks,
    health,
    job_predictions,
    jobs,
    model_aliases,
    model_downloads,
    model_evaluations,
    model_predictions,
    model_reports,
    models,
    prediction_files,
    predictions,
    replay,
    reports,
    retraining,
    stream,
    sweep_decisions,
    sweep_importance,
    sweep_replay,
    sweep_results,
    sweeps,
    usage,
)
from service.api.slots import SLOTS
from service.api.sweeps.driver import SweepDriver
from service.concurrency.fair_slots import FairLimiter
from service.search.tpe_process import TpeProcess
from service.settings import memory_bytes
from service.spec.limits import JobLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from fastapi import FastAPI
    from starlette.routing import BaseRoute

    from service.api.context import Predictor
    from service.api.processes.parent_link import ParentLink
    from service.artifacts import Artifacts
    from service.settings import Settings
    from service.store.engine import Database

PARSE_SLOTS = 2  # large JSON bodies


def create_app(
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    predictor: Predictor,
    parent_link: ParentLink | None = None,
) -> FastAPI:
    """Build the API. The caller opens and closes `database`, `artifacts` and `predictor`.

    `parent_link`: where this is one of several processes of one port.
    """
    watcher = Watcher(database)
    quota = StorageQuota(settings.max_tenant_bytes)
    sampler = Sampler(database, quota, settings.sample_rows)
    app = FastAPIOffline(
        routes=_routes(),
        redoc_url=None,
        title="bestepoch",
        summary="Training as a service",
        description=DESCRIPTION,
        version=version("bestepoch"),
        openapi_tags=TAGS,
        lifespan=_lifespan(watcher, sampler),
        telemetry={"auto_configure": True, "logs": False},  # sent to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set
        redirect_slashes=False,
    )
    app.state.shared = _state(settings, database, artifacts, predictor, watcher, sampler, quota, parent_link)
    state: AppState = app.state.shared
    # Other processes may use the same database; with SQLite, none does but those of the same port.
    alone = parent_link is None and database.is_sqlite
    app.state.shared_limits = None if alone else SharedLimits(database, state.rate_limiter, state.quota)
    dashboard.install(app)
    amend(app)
    problems.install(app)
    _add_middleware(app, settings, state)
    return app


def _state(
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    predictor: Predictor,
    watcher: Watcher,
    sampler: Sampler,
    quota: StorageQuota,
    parent_link: ParentLink | None,
) -> AppState:
    """What all requests share."""

    def limiter(work: str) -> FairLimiter:
        return FairLimiter(*SLOTS[work], None if parent_link is None else SharedSlots(parent_link, work))

    return AppState(
        settings=settings,
        limits=_limits(settings),
        database=database,
        artifacts=artifacts,
        predictor=predictor,
        authenticator=ApiKeyAuthenticator(settings, database),
        rate_limiter=RateLimiter(settings.max_requests_per_second, settings.max_streams),
        quota=quota,
        watcher=watcher,
        sampler=sampler,
        job_feed=JobFeed(),
        read_batcher=ReadBatcher(),
        job_reader=JobReader(database),
        metrics=Metrics(database, {"home": settings.home, "artifacts": settings.artifacts}),
        decisions_due=Event(),
        tpe=TpeProcess(),
        readiness_check=SingleFlight(),
        parse_slots=CapacityLimiter(PARSE_SLOTS),
        ingest_slots=limiter("ingest"),
        fetch_slots=limiter("fetch"),
        store_slots=limiter("store"),
        predict_slots=limiter("predict"),
        export_slots=limiter("export"),
        preview_slots=limiter("preview"),
        plan_slots=limiter("plan"),
        compute_slots=limiter("compute"),
        report_slots=limiter("report"),
        parent_link=parent_link,
    )


def _lifespan(watcher: Watcher, sampler: Sampler) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Starts and stops the tasks of the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state: AppState = app.state.shared
        link = state.parent_link
        driver = SweepDriver(state) if link is None or link.place.number == 0 else None
        watcher.start()
        sampler.start()
        if driver is not None:
            driver.start()
        limits: SharedLimits | None = app.state.shared_limits
        if limits is not None:
            limits.start()
        if link is not None:
            await link.start(partial(families_of, state.metrics.own))
        yield
        if limits is not None:
            await limits.stop()
        watcher.stop()
        if driver is not None:
            await to_thread.run_sync(driver.stop)
        await to_thread.run_sync(app.state.shared.tpe.close)
        await sampler.stop()
        await watcher.join()

    return lifespan


def _limits(settings: Settings) -> JobLimits:
    """The upper bounds of a job spec."""
    return JobLimits(
        parameters=settings.max_parameters,
        epochs=settings.max_epochs,
        seconds=settings.max_seconds or None,
        memory_bytes=settings.max_job_bytes or memory_bytes(),
    )


def _add_middleware(app: FastAPI, settings: Settings, state: AppState) -> None:
    """Add the middleware from the innermost to the outermost."""
    app.add_middleware(
        ApiKeyMiddleware, authenticator=state.authenticator, rate_limiter=state.rate_limiter, metrics=state.metrics
    )
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(settings.allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Last-Event-ID",
                "Range",
                "If-None-Match",
            ],
            expose_headers=[
                *("Location", "ETag", "Retry-After", "X-Request-Id", "Content-Disposition"),
                *("Model-Name", "Model-Version", "Model-Alias", "Calibration"),
            ],
        )
    app.add_middleware(HostAndOriginMiddleware, hosts=settings.allowed_hosts, origins=settings.allowed_origins)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=state.metrics)


@cache
def _routes() -> Sequence[BaseRoute]:
    """The routes of the API. Applications of one process share them: FastAPI takes a quarter of a second to prepare
    them, at the first request."""
    router = APIRouter()
    authenticated = documented(401, 403, 422, 429, 500, 503)
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
        reports,
        retraining,
        job_predictions,
        sweeps,
        sweep_results,
        sweep_importance,
        sweep_decisions,
        sweep_replay,
        advice,
        models,
        model_aliases,
        model_downloads,
        model_predictions,
        drift,
        model_evaluations,
        model_reports,
        connections,
        dataset_uploads,
        datasets,
        dataset_files,
        catalog,
        demand,
        usage,
    ):
        router.include_router(noun.router, prefix="/v1", responses=authenticated)
    router.include_router(health.router, responses=documented(422, 500))
    router.include_router(health.metrics_router, responses=authenticated)
    return router.routes
