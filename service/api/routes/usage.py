"""What a tenant takes and may take, over HTTP."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from service.api.context import Reader
from service.api.strict_route import StrictRoute
from service.domain.access import Scope

router = APIRouter(tags=["service"], route_class=StrictRoute)


class Use(BaseModel):
    """What is taken of something."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    used: int
    """So much now."""
    limit: int | None
    """So much at most; null: no limit."""


class Stored(BaseModel):
    """The bytes of a tenant, by what takes them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    datasets: int
    """Parquet files of data sets."""
    profiles: int
    """What the database holds of the columns of data sets."""
    checkpoints: int
    """Files of weights: best, last, and the states to go on from. A file that several jobs share counts once."""
    histories: int
    """Epochs in the database, about."""
    specs: int
    """The specs of jobs in the database, with the rows that they hold inline and what was resolved of them."""
    expected: int
    """Checkpoints that jobs under way and waiting have yet to write, by estimate."""
    uploads: int
    """Unfinished uploads, and answers to files that are being read, at this process of the API."""


class Bounds(BaseModel):
    """What one request or one job may ask for at most."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    upload_bytes: int
    """Bytes of an upload, packed and unpacked."""
    sweep_jobs: int
    """Jobs of a sweep."""
    parameters: int
    """Trained values of a network."""
    epochs: int
    """Epochs of a job."""
    seconds: float | None
    """Seconds of training of a job; null: no limit."""
    memory_bytes: int
    """Memory that training may take, by estimate."""
    requests_per_second: float | None
    """Requests of a tenant in a second, of each process of the API; null: no limit."""


class Usage(BaseModel):
    """What the key's tenant takes now, and what it may take."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    tenant: str
    """Whose key it is."""
    key: str | None
    """The key's id; null where the server is open, and for the key of its settings."""
    scope: Scope
    """What the key allows."""
    waiting_jobs: Use
    """Jobs that are queued or paused."""
    running_jobs: Use
    """Jobs that train."""
    dataset_bytes: Use
    """Bytes of the stored data sets, in files and in the database."""
    stored_bytes: Use
    """Bytes of everything in `stored` together."""
    stored: Stored
    """What these bytes are."""
    streams: Use
    """Streams that are open at this process of the API, and requests that wait for a job's or a sweep's end."""
    bounds: Bounds
    """What one request or one job may ask for at most."""


@router.get("/usage", operation_id="get_usage", summary="Read use and limits")
def get_usage(context: Reader) -> Usage:
    """What this key is, what its tenant uses of the service, and the limits."""
    settings, limits, caller = context.state.settings, context.state.limits, context.caller
    quota = context.state.quota
    taken = quota.read(context.database, caller.tenant)
    stored, uploads = taken.stored, quota.uploading(caller.tenant)
    return Usage(
        tenant=caller.tenant,
        key=caller.key,
        scope=caller.scope,
        waiting_jobs=Use(used=taken.waiting, limit=settings.max_queued_jobs),
        running_jobs=Use(used=taken.running, limit=settings.max_running_jobs or None),
        dataset_bytes=Use(used=stored.datasets + stored.profiles, limit=settings.max_dataset_bytes),
        stored_bytes=Use(used=stored.total + uploads, limit=settings.max_tenant_bytes or None),
        stored=Stored(**asdict(stored), uploads=uploads),
        streams=Use(used=context.state.rate_limiter.streams(caller.tenant), limit=settings.max_streams),
        bounds=Bounds(
            upload_bytes=settings.max_upload_bytes,
            sweep_jobs=settings.max_sweep_jobs,
            parameters=limits.parameters,
            epochs=limits.epochs,
            seconds=limits.seconds,
            memory_bytes=limits.memory_bytes,
            requests_per_second=settings.max_requests_per_second or None,
        ),
    )
