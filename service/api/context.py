"""What endpoints share: the service for the one who calls, pages of lists, ids in paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from anyio import CapacityLimiter
from fastapi import Depends, Path, Query, Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, ConfigDict

from service.concurrency.fair_slots import FairLimiter
from service.data.processes.runner import Allowance
from service.domain.access import Caller, Scope
from service.errors import Forbidden
from service.settings import readers_environment

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Sequence

    from fastapi.dependencies.models import Dependant

    from service.api.live.job_feed import NewsRoom
    from service.api.live.read_batcher import Reads
    from service.api.live.single_flight import Probe
    from service.api.live.watcher import Watcher
    from service.api.middleware.auth import Keys
    from service.api.middleware.prometheus import Metrics
    from service.api.middleware.rate_limit import Traffic
    from service.api.quota import Quota
    from service.artifacts import Artifacts
    from service.domain.job import Export
    from service.settings import Settings
    from service.spec.limits import JobLimits
    from service.spec.read_options import ReadOptions
    from service.store.engine import Database, TenantDatabase

FILE_SECONDS = 600.0


class Predictor(Protocol):
    """A checkpoint put to use: what the API itself, which knows no torch, cannot do."""

    def predict(self, checkpoint: pathlib.Path, sha256: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`{"prediction": ..., "probabilities": {...}}` for each of `rows`; raises InvalidData."""

    def predict_file(
        self, checkpoint: pathlib.Path, sha256: str, source: pathlib.Path, options: ReadOptions, allowed: Allowance
    ) -> pathlib.Path:
        """The answers to the rows of the file `source`, as a file of the same format; raises InvalidData, TooLarge."""

    def to_pt(self, checkpoint: pathlib.Path, sha256: str, target: pathlib.Path) -> None:
        """Write the weights as torch.save does a state dict, which `torch.load(..., weights_only=True)` reads."""

    def export(self, checkpoint: pathlib.Path, sha256: str, asked: Export, target: pathlib.Path) -> None:
        """Write the network with its preprocessing. Raises Conflict, NotInstalled."""


@dataclass(frozen=True)
class Parts:
    """What the service is made of."""

    settings: Settings
    limits: JobLimits
    database: Database
    artifacts: Artifacts
    predictor: Predictor
    keys: Keys
    watcher: Watcher
    news: NewsRoom
    traffic: Traffic
    quota: Quota
    reads: Reads
    metrics: Metrics
    probe: Probe
    parsing: CapacityLimiter  # threads for large JSON bodies, apart from those that answer short requests
    # Slots for long work, each kind in threads apart from those that answer short requests. See decision 43.
    ingesting: FairLimiter
    predicting: FairLimiter
    exporting: FairLimiter
    previewing: FairLimiter
    planning: FairLimiter
    computing: FairLimiter

    @property
    def allowed(self) -> Allowance:
        """What a process that reads or writes a stranger's file may use."""
        limits = self.settings
        return Allowance(
            memory_bytes=limits.max_ingest_bytes,
            unpacked_bytes=limits.max_upload_bytes,
            seconds=FILE_SECONDS,
            profile_bytes=limits.max_profile_bytes,
            environment=readers_environment(),
        )


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Everything = Annotated[Parts, Depends(_parts)]  # for the few routes that need no key


@dataclass(frozen=True)
class Service:
    """The service, for the one who calls: all that an endpoint sees of the database are the rows of their tenant."""

    parts: Parts
    caller: Caller
    database: TenantDatabase

    def make_room(self, more: int) -> None:
        """Raise QuotaExceeded unless the tenant may store so many bytes more. Blocks."""
        self.parts.quota.check(self.database, self.caller.tenant, more)


def scopes_of(dependant: Dependant) -> frozenset[str]:
    """The scopes that an endpoint and all that it depends on declare."""
    below = (scopes_of(each) for each in dependant.dependencies)
    return frozenset(dependant.own_oauth_scopes or ()).union(*below)


def check_scopes(request: Request, needed: Iterable[str]) -> None:
    """Raise Forbidden for a key that does not allow all of this."""
    for scope in needed:
        caller: Caller = request.state.caller
        if not caller.scope.covers(Scope(scope)):
            raise Forbidden(f"this takes a key of the scope `{scope}`, and yours has `{caller.scope}`")


class _Door(SecurityBase):
    """What the documentation says of keys, and what an endpoint gets for one that is good enough."""

    scheme_name = "key"
    model = HTTPBearer(description="An API key; `bestepoch keys create` makes one.")

    async def __call__(self, request: Request, needed: SecurityScopes) -> Service:
        check_scopes(request, needed.scopes)
        caller: Caller = request.state.caller
        parts: Parts = request.app.state.parts
        return Service(parts, caller, parts.database.of(caller.tenant))


_door = _Door()

# The kind of its `service` says who may call an endpoint.
Reader = Annotated[Service, Security(_door, scopes=[Scope.read])]
Submitter = Annotated[Service, Security(_door, scopes=[Scope.submit])]
Admin = Annotated[Service, Security(_door, scopes=[Scope.admin])]


async def _operator(service: Admin) -> Service:
    if not service.caller.is_operator:
        raise Forbidden("this takes an admin key of the tenant `default`, which is the operator's")
    return service


Operator = Annotated[Service, Depends(_operator)]

JobId = Annotated[str, Path(description="The job's id.", examples=["job_18d2f3c1a2b40007d1e2f3a4"])]
SweepId = Annotated[str, Path(description="The sweep's id.", examples=["swp_18d2f3c1a2b40007d1e2f3a4"])]
DatasetId = Annotated[str, Path(description="The data set's id.", examples=["ds_18d2f3c1a2b40007d1e2f3a4"])]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


def cursor(prefix: str) -> Any:
    """What a list of ids with this prefix takes as `after`; anything else would silently be an empty page."""
    said = "The `next` of the page before this one."
    return Query(max_length=100, pattern=rf"^{prefix}_[0-9a-z]{{1,40}}$", description=said)


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["list"] = "list"
    """What this JSON object is."""
    data: list[T]
    """The items."""
    has_more: bool = False
    """Whether there are more after these."""
    next: str | None = None
    """Send it as `after` for the next page; null on the last one."""


def page_of(items: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of `limit` from one item more than that, if there are so many."""
    data = list(items[:limit])
    more = len(items) > limit
    return Page(data=data, has_more=more, next=cursor(data[-1]) if more else None)
