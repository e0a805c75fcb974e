"""The storage quota: all bytes of a tenant against one limit, checked before an upload or a new job is accepted."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from service.errors import QuotaExceeded
from service.store import usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.types import Message

    from service.store.engine import TenantDatabase
    from service.store.usage import Usage

CACHE_FACTOR = 20.0  # cache lifetime in multiples of the query's duration: at most 5% of the time is spent querying


class Reserved(Protocol):
    """Bytes that are counted already: of an upload."""

    @property
    def size_bytes(self) -> int:
        """How many."""


@dataclass
class _CachedUsage:
    """The bytes of a tenant when they were read, plus those granted since."""

    total: int
    read_at: float
    expires_at: float


class StorageQuota:
    """Checks the quota; one per process. `limit`: maximum bytes per tenant; 0: no limit.

    The bytes of jobs and data sets are read from the database and cached; those of unfinished uploads are counted by
    each process, and `uploading_elsewhere` has those of others.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cache: dict[str, _CachedUsage] = {}
        self._uploading: Counter[str] = Counter()
        self.uploading_elsewhere: Mapping[str, int] = {}
        self._counting = threading.Lock()  # of what is cached and of unfinished uploads; held for no statement
        self._reading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def read(self, database: TenantDatabase, tenant: str) -> Usage:
        """The tenant's usage, read from the database."""
        began = time.monotonic()
        with database.reading() as connection:
            taken = usage.read(connection)
        seconds = time.monotonic() - began
        self._cache[tenant] = _CachedUsage(taken.stored.total, began, began + (1 + CACHE_FACTOR) * seconds)
        return taken

    def check(self, database: TenantDatabase, tenant: str, more: int = 0, beside: Reserved | None = None) -> None:
        """Raise QuotaExceeded if `more` bytes do not fit; otherwise count them at once. Blocks.

        `beside`: the upload that the new bytes were made from, not counted because it is about to be deleted.
        A refusal is never based on usage cached before this call.
        """
        if not self._limit:
            return
        asked = time.monotonic()
        known = self._cache.get(tenant)
        if known is not None and asked <= known.expires_at and self._grants(known, tenant, more, beside):
            return
        with self._reading[tenant]:  # concurrent callers share the result
            if (known := self._cache.get(tenant)) is None or known.read_at < asked:
                self.read(database, tenant)
                known = self._cache[tenant]
        if not self._grants(known, tenant, more, beside):
            raise QuotaExceeded(self._message(known, tenant, more))

    def _grants(self, known: _CachedUsage, tenant: str, more: int, beside: Reserved | None) -> bool:
        """Whether `more` bytes fit; then they are counted."""
        with self._counting:
            fits = not self._exceeds(known, tenant, more, beside)
            known.total += more if fits else 0
        return fits

    def seems_full(self, tenant: str, beside: Reserved | None = None) -> bool:
        """Whether the cached usage exceeds the limit, or there is none: then call `check`."""
        known = self._cache.get(tenant)
        return bool(self._limit) and (known is None or self._exceeds(known, tenant, 0, beside))

    def uploading(self, tenant: str) -> int:
        """Bytes of the tenant's unfinished uploads, at all processes."""
        return self._uploading[tenant] + self.uploading_elsewhere.get(tenant, 0)

    @property
    def own_uploads(self) -> Mapping[str, int]:
        """Bytes of unfinished uploads at this process, of each tenant, at this moment."""
        with self._counting:
            return dict(self._uploading)

    def count_uploading(self, tenant: str, more: int) -> None:
        """Count so many more bytes of unfinished uploads at this process, or fewer if negative."""
        with self._counting:
            self._uploading[tenant] += more
            if not self._uploading[tenant]:
                del self._uploading[tenant]

    @contextmanager
    def upload(
        self, database: TenantDatabase, tenant: str, beside: Reserved | None = None
    ) -> Iterator[UploadReservation]:
        """Reserve disk space for an upload or its response until the context ends.

        `beside`: what is counted already for these bytes.
        """
        reservation = UploadReservation(self, database, tenant, beside)
        try:
            yield reservation
        finally:
            reservation.resize(0)

    def _exceeds(self, known: _CachedUsage, tenant: str, more: int, beside: Reserved | None) -> bool:
        uploading = self.uploading(tenant) - (beside.size_bytes if beside else 0)
        return known.total + uploading + more > self._limit

    def _message(self, known: _CachedUsage, tenant: str, more: int) -> str:
        asked = f"this would take about {more:,} more bytes; " if more else ""
        uploads = self.uploading(tenant)
        there = f"{known.total:,} bytes are stored or expected from queued jobs, {uploads:,} are being uploaded"
        return f"{asked}{there}, and {self._limit:,} are allowed: delete data sets or jobs that are not needed"


class UploadReservation:
    """The bytes of one unfinished upload, counted against the quota."""

    def __init__(
        self, quota: StorageQuota, database: TenantDatabase, tenant: str, beside: Reserved | None = None
    ) -> None:
        self._quota, self._database, self._tenant, self._beside = quota, database, tenant, beside
        self.size_bytes = 0

    def resize(self, size_bytes: int) -> None:
        """Set the number of reserved bytes. One thread at a time."""
        self._quota.count_uploading(self._tenant, size_bytes - self.size_bytes)
        self.size_bytes = size_bytes

    def watch(self, request: Request) -> Request:
        """The request with its body counted as it is received; reading raises QuotaExceeded when it no longer fits."""

        async def receive() -> Message:
            part = await request.receive()
            self.resize(self.size_bytes + len(part.get("body", b"")))
            if self._quota.seems_full(self._tenant, self._beside):
                try:
                    await run_in_threadpool(self._quota.check, self._database, self._tenant, 0, self._beside)
                except QuotaExceeded:
                    self.resize(0)  # release at once, or the tenant's other uploads would be refused too
                    raise
            return part

        return Request(request.scope, receive)
