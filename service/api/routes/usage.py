"""GET /v1/usage: the usage and the limits of a tenant."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.context import Reader
from service.api.strict_route import StrictRoute
from service.domain.access import Scope
from service.spec.documented import Documented
from service.store.usage import StoredBytes

router = APIRouter(tags=["service"], route_class=StrictRoute)


class Use(Documented):
    """Usage of one resource."""

    used: int
    """Current usage."""
    limit: int | None
    """Maximum; null: no limit."""


class Stored(StoredBytes):
    """The bytes of a tenant by kind, with those of unfinished uploads."""

    uploads: int
    """Files that are being uploaded, and responses to uploaded files."""


class Bounds(Documented):
    """Limits of one request or one job."""

    upload_bytes: int
    """Bytes of an upload, compressed and uncompressed."""
    upload_part_bytes: int
    """Larger files are best uploaded in parts, of this size."""
    sweep_jobs: int
    """Jobs of a sweep."""
    parameters: int
    """Trainable parameters of a network."""
    epochs: int
    """Epochs of a job."""
    seconds: float | None
    """Seconds of training of a job; null: no limit."""
    memory_bytes: int
    """Estimated memory of training."""
    requests_per_second: float | None
    """Requests of a tenant per second; null: no limit."""


class Usage(Documented):
    """The current usage of the key's tenant, and its limits."""

    tenant: str
    """The key's tenant."""
    key: str | None
    """The key's id; null where the server is open, and for the key of its settings."""
    scope: Scope
    """The key's scope."""
    waiting_jobs: Use
    """Queued and paused jobs."""
    running_jobs: Use
    """Running jobs."""
    dataset_bytes: Use
    """Bytes of the stored data sets, in files and in the database."""
    stored_bytes: Use
    """Total of `stored`."""
    stored: Stored
    """The same by kind."""
    streams: Use
    """Open streams, and requests that wait for the end of a job or a sweep."""
    bounds: Bounds
    """Limits of one request or one job."""


@router.get("/usage", operation_id="get_usage", summary="Read usage and limits")
def get_usage(context: Reader) -> Usage:
    """The key's tenant and scope, the tenant's usage, and its limits."""
    settings, limits, caller = context.state.settings, context.state.limits, context.caller
    quota = context.state.quota
    usage = quota.read(context.database, caller.tenant)
    stored, uploads = usage.stored, quota.uploading(caller.tenant)
    return Usage(
        tenant=caller.tenant,
        key=caller.key,
        scope=caller.scope,
        waiting_jobs=Use(used=usage.waiting, limit=settings.max_queued_jobs),
        running_jobs=Use(used=usage.running, limit=settings.max_running_jobs or None),
        dataset_bytes=Use(used=stored.datasets + stored.profiles, limit=settings.max_dataset_bytes),
        stored_bytes=Use(used=stored.total + uploads, limit=settings.max_tenant_bytes or None),
        stored=Stored(**{**stored.model_dump(), "uploads": stored.uploads + uploads}),
        streams=Use(used=context.state.rate_limiter.streams(caller.tenant), limit=settings.max_streams),
        bounds=Bounds(
            upload_bytes=settings.max_upload_bytes,
            upload_part_bytes=settings.upload_part_bytes,
            sweep_jobs=settings.max_sweep_jobs,
            parameters=limits.parameters,
            epochs=limits.epochs,
            seconds=limits.seconds,
            memory_bytes=limits.memory_bytes,
            requests_per_second=settings.max_requests_per_second or None,
        ),
    )
