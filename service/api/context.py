"""Dependencies of endpoints: the application's state, the caller and their tenant's database, ids in paths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from service.concurrency.fair_slots import FairLimiter
from service.data.processes.runner import Allowance
from service.domain.access import DEFAULT_TENANT, Caller, Scope
from service.domain.prediction import DEFAULT
from service.errors import Forbidden
from service.settings import file_reader_environment

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable
    from threading import Event

    from fastapi.dependencies.models import Dependant

    from service.api.live.job_feed import JobFeed
    from service.api.live.job_reader import JobReader
    from service.api.live.read_batcher import ReadBatcher
    from service.api.live.sampler import Sampler
    from service.api.live.single_flight import SingleFlight
    from service.api.live.watcher import Watcher
    from service.api.middleware.auth import ApiKeyAuthenticator
    from service.api.middleware.prometheus import Metrics
    from service.api.middleware.rate_limit import RateLimiter
    from service.api.processes.parent_link import ParentLink
    from service.api.quota import StorageQuota
    from service.artifacts import Artifacts
    from service.domain.export import Export
    from service.domain.model import ModelVersion
    from service.domain.model_ref import ModelRef
    from service.domain.prediction import AppliedCalibration, ModelCalibration, PredictedRows, PredictionOptions
    from service.domain.report import EvaluationInputs, ReportInputs, StoredFile
    from service.search.tpe_process import TpeProcess
    from service.settings import Settings
    from service.spec.limits import JobLimits
    from service.spec.read_options import ReadOptions
    from service.store.engine import Database, TenantDatabase

P = ParamSpec("P")
T = TypeVar("T")

FEW_ROWS = 32
"""Rows of a prediction that takes no thread, and is made together with others; divided by the members of a model."""


class Predictor(Protocol):
    """Inference and exports from a checkpoint, done in other processes: the API imports no torch."""

    @property
    def model_bytes(self) -> int:
        """Memory of the models that each helper caches."""

    def preload(self, ref: ModelRef) -> None:
        """Load a model, so that its first prediction is as fast as the next; raises CheckpointCorrupt, Conflict."""

    def calibration(self, ref: ModelRef) -> ModelCalibration | None:
        """How a model is calibrated, or why it is not."""

    def check_options(self, ref: ModelRef, options: PredictionOptions) -> None:
        """Raise Conflict or PredictionsCorrupt if the model has no predictions with these options."""

    async def predict_few(
        self, tenant: str, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT
    ) -> PredictedRows:
        """`predict` for a few rows, without a thread."""

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        """`{"prediction": ..., "probabilities": {...}}` for each of `rows`; raises InvalidData, Conflict."""

    def predict_file(
        self,
        ref: ModelRef,
        source: pathlib.Path,
        reading: ReadOptions,
        allowed: Allowance,
        options: PredictionOptions = DEFAULT,
    ) -> tuple[pathlib.Path, AppliedCalibration | None]:
        """Predictions for the rows of the file `source`, in a file of the same format; raises InvalidData, TooLarge."""

    def to_pt(self, checkpoint: pathlib.Path, sha256: str, target: pathlib.Path) -> None:
        """Write the weights as torch.save does a state dict, which `torch.load(..., weights_only=True)` reads."""

    def export(self, ref: ModelRef, asked: Export, target: pathlib.Path) -> None:
        """Write the model with its preprocessing. Raises Conflict, NotInstalled."""

    def card(self, ref: ModelRef, version: ModelVersion) -> str:
        """The model card of a version, in Markdown. Raises CheckpointCorrupt, Unavailable."""

    def stage_labelled(self, ref: ModelRef, source: pathlib.Path, reading: ReadOptions, allowed: Allowance) -> int:
        """Stage the rows of a file with their labels beside it; returns their number. Raises InvalidData."""

    def report(self, asked: ReportInputs | EvaluationInputs, target: pathlib.Path, allowed: Allowance) -> None:
        """Write a report or an evaluation as JSON.

        Raises InvalidData, PredictionsCorrupt, DatasetCorrupt, Conflict, Unavailable.
        """

    def drift(
        self,
        ref: ModelRef,
        profile: StoredFile,
        source: pathlib.Path,
        reading: ReadOptions | None,
        allowed: Allowance,
    ) -> pathlib.Path:
        """The drift of the rows of the file `source`, as JSON in a file beside it; raises InvalidData, Conflict."""


@dataclass(frozen=True)
class AppState:
    """Everything that requests share: settings, database, limiters, caches. One per application."""

    settings: Settings
    limits: JobLimits
    database: Database
    artifacts: Artifacts
    predictor: Predictor
    authenticator: ApiKeyAuthenticator
    rate_limiter: RateLimiter
    quota: StorageQuota
    watcher: Watcher
    sampler: Sampler
    job_feed: JobFeed
    read_batcher: ReadBatcher
    job_reader: JobReader
    metrics: Metrics
    decisions_due: Event  # wakes the driver of sweeps
    tpe: TpeProcess
    readiness_check: SingleFlight
    parse_slots: CapacityLimiter  # threads for large JSON bodies, apart from those that answer short requests
    # Slots for long work, each kind in threads apart from those that answer short requests. See decision 43.
    ingest_slots: FairLimiter
    fetch_slots: FairLimiter
    store_slots: FairLimiter
    predict_slots: FairLimiter
    export_slots: FairLimiter
    preview_slots: FairLimiter
    plan_slots: FairLimiter
    compute_slots: FairLimiter
    report_slots: FairLimiter
    parent_link: ParentLink | None  # where several API processes share a port

    @property
    def file_process_limits(self) -> Allowance:
        """Memory, time and bytes that a child process reading or writing a client's file may use."""
        settings = self.settings
        return Allowance(
            memory_bytes=settings.max_ingest_bytes,
            unpacked_bytes=settings.max_upload_bytes,
            seconds=settings.max_ingest_seconds,
            profile_bytes=settings.max_profile_bytes,
            environment=file_reader_environment(),
        )


async def _app_state(request: Request) -> AppState:
    state: AppState = request.app.state.shared
    return state


PublicState = Annotated[AppState, Depends(_app_state)]  # for the few routes that need no API key


@dataclass(frozen=True)
class RequestContext:
    """The application's state, the caller of a request, and a database restricted to the rows of their tenant."""

    state: AppState
    caller: Caller
    database: TenantDatabase

    @property
    def database_for_counts(self) -> Database | TenantDatabase:
        """Rows of all tenants for callers of the tenant `default`, the operator's; of their own tenant for others."""
        return self.state.database if self.caller.tenant == DEFAULT_TENANT else self.database

    def check_quota(self, more: int) -> None:
        """Raise QuotaExceeded unless the tenant may store `more` additional bytes. Blocks."""
        self.state.quota.check(self.database, self.caller.tenant, more)

    async def located(self, find: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`find(...)`, which asks for local paths of artifacts: in a thread if they may have to be fetched first."""
        if self.state.artifacts.is_local:
            return find(*args, **kwargs)
        return await to_thread.run_sync(partial(find, *args, **kwargs))


def scopes_of(dependant: Dependant) -> frozenset[str]:
    """The scopes that an endpoint and its dependencies declare."""
    below = (scopes_of(each) for each in dependant.dependencies)
    return frozenset(dependant.own_oauth_scopes or ()).union(*below)


def check_scopes(request: Request, required: Iterable[str]) -> None:
    """Raise Forbidden unless the caller's key has all of these scopes."""
    for scope in required:
        caller: Caller = request.state.caller
        if not caller.scope.covers(Scope(scope)):
            raise Forbidden(f"this needs an API key with the scope `{scope}`; yours has `{caller.scope}`")


class ApiKeyAuth(SecurityBase):
    """The security scheme in the OpenAPI document; as a dependency it checks scopes and gives the RequestContext."""

    scheme_name = "key"
    model = HTTPBearer(description="An API key; `bestepoch keys create` makes one.")

    async def __call__(self, request: Request, required: SecurityScopes) -> RequestContext:
        """The context of a request that the ApiKeyMiddleware has authenticated; raises Forbidden."""
        check_scopes(request, required.scopes)
        caller: Caller = request.state.caller
        state: AppState = request.app.state.shared
        return RequestContext(state, caller, state.database.of(caller.tenant))


_api_key_auth = ApiKeyAuth()

# The type of an endpoint's `context` says which scope its callers need.
Reader = Annotated[RequestContext, Security(_api_key_auth, scopes=[Scope.read])]
Submitter = Annotated[RequestContext, Security(_api_key_auth, scopes=[Scope.submit])]
Admin = Annotated[RequestContext, Security(_api_key_auth, scopes=[Scope.admin])]


async def _operator(context: Admin) -> RequestContext:
    if not context.caller.is_operator:
        raise Forbidden("this needs an admin key of the tenant `default`, the operator's")
    return context


Operator = Annotated[RequestContext, Depends(_operator)]

JobId = Annotated[str, Path(description="The job's id.", examples=["job_18d2f3c1a2b40007d1e2f3a4"])]
SweepId = Annotated[str, Path(description="The sweep's id.", examples=["swp_18d2f3c1a2b40007d1e2f3a4"])]
DatasetId = Annotated[str, Path(description="The data set's id.", examples=["ds_18d2f3c1a2b40007d1e2f3a4"])]
