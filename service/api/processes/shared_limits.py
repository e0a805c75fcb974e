"""Limits of a tenant over all API processes: each tells the others, through the database, what it has accepted.

Every process decides at once from what it knows, which is up to 2 * SECONDS old. The error is bounded: see decision
119. While the database is away, each process counts for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from service.errors import ServiceError
from service.store import api_usage
from service.store.api_usage import TenantUse
from service.store.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.api.middleware.rate_limit import RateLimiter
    from service.api.quota import StorageQuota
    from service.store.engine import Database

log = logging.getLogger(__name__)

SECONDS = 1.0  # between two exchanges
FORGET_SECONDS = 3_600.0  # an idle tenant at another process, or one that has ended


class SharedLimits:
    """Runs on the event loop; one per process. Without accepted requests, streams or uploads it sends no statement."""

    def __init__(self, database: Database, rate_limiter: RateLimiter, quota: StorageQuota) -> None:
        self._database, self._rate_limiter, self._quota = database, rate_limiter, quota
        self._process = new_id("api")
        self._told: Mapping[str, TenantUse] = {}
        self._requests: dict[tuple[str, str], tuple[int, float]] = {}  # of others, and when it heard; the oldest first
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run(), name="shared-limits")

    async def stop(self) -> None:
        """End the task; the others soon count nothing of this process."""
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._told:
            with suppress(ServiceError):
                await asyncio.to_thread(self._forget)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                if mine := self.to_tell():
                    self.hear(mine, await asyncio.to_thread(self.tell, mine))
            except Exception as error:  # any error: requests are answered without it
                log.warning("this API process counts for itself until it can tell the others: %r", error)
                self._told = {}

    def to_tell(self) -> dict[str, TenantUse]:
        """What this process has of each tenant with streams or uploads, here or elsewhere, or with new requests."""
        requests, streams, uploads = (
            self._rate_limiter.accepted,
            self._rate_limiter.own_streams,
            self._quota.own_uploads,
        )
        open_somewhere = {*streams, *uploads, *self._rate_limiter.streams_elsewhere, *self._quota.uploading_elsewhere}
        found = {}
        for tenant in {*requests, *open_somewhere, *self._told}:
            use = TenantUse(requests.get(tenant, 0), streams.get(tenant, 0), uploads.get(tenant, 0))
            if tenant in open_somewhere or use != self._told.get(tenant, TenantUse()):
                found[tenant] = use
        return found

    def tell(self, mine: Mapping[str, TenantUse]) -> dict[tuple[str, str], TenantUse]:
        """Tell it the others, and read what they have of the same tenants. Blocks."""
        with self._database.transaction(quiet=True) as connection:
            return api_usage.exchange(connection, self._process, mine)

    def hear(self, mine: Mapping[str, TenantUse], others: Mapping[tuple[str, str], TenantUse]) -> None:
        """Count what the others have."""
        streams, uploads = Counter[str](), Counter[str]()
        requests = dict.fromkeys(mine, 0)
        for (tenant, process), use in others.items():
            streams[tenant] += use.streams
            uploads[tenant] += use.upload_bytes
            requests[tenant] += self._new_requests(tenant, process, use.requests)
        self._rate_limiter.count_others(requests, +streams)
        self._quota.uploading_elsewhere = +uploads
        self._told = {**self._told, **mine}

    def _new_requests(self, tenant: str, process: str, requests: int) -> int:
        """How many of them this process has not counted yet."""
        now = time.monotonic()
        known, _ = self._requests.pop((tenant, process), (None, 0.0))
        self._requests[tenant, process] = requests, now
        while now - next(iter(self._requests.values()))[1] > FORGET_SECONDS:
            del self._requests[next(iter(self._requests))]
        # Those of a process that is new to this one may be old: count what it can accept within two exchanges.
        return min(requests, int(2 * self._rate_limiter.burst)) if known is None else requests - known

    def _forget(self) -> None:
        with self._database.transaction(quiet=True) as connection:
            api_usage.forget(connection, self._process)
