"""All bytes of a tenant against one limit, checked before an upload is taken or a job is queued."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from service.errors import QuotaExceeded
from service.store import usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message

    from service.store.engine import TenantDatabase
    from service.store.usage import Usage

DUTY = 20.0  # a figure is used for so many times as long as it took to read: 5% of the time at most goes into reading


@dataclass
class _Known:
    """What was read of a tenant, and what has been granted since."""

    total: int
    read_at: float
    stale_at: float


class StorageQuota:
    """One a process. `limit`: bytes of a tenant at most; 0: no limit.

    What jobs and data sets take is read from the database and remembered for a moment; unfinished uploads are known to
    this process alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, _Known] = {}
        self._uploading: Counter[str] = Counter()
        self._reading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def read(self, database: TenantDatabase, tenant: str) -> Usage:
        """What the tenant takes now, as the database has it."""
        began = time.monotonic()
        with database.reading() as connection:
            taken = usage.read(connection)
        seconds = time.monotonic() - began
        self._known[tenant] = _Known(taken.stored.total, began, began + (1 + DUTY) * seconds)
        return taken

    def check(
        self, database: TenantDatabase, tenant: str, more: int = 0, beside: UploadReservation | None = None
    ) -> None:
        """Raise QuotaExceeded where `more` bytes do not fit; else they count at once. Blocks.

        `beside`: an upload that has become what is to be stored, and is about to be deleted. Nobody is refused by a
        figure from before they asked.
        """
        if not self._limit:
            return
        asked = time.monotonic()
        known = self._known.get(tenant)
        if known is None or asked > known.stale_at or self._exceeds(known, tenant, more, beside):
            with self._reading[tenant]:  # who asks meanwhile shares the answer
                if (known := self._known.get(tenant)) is None or known.read_at < asked:
                    self.read(database, tenant)
                    known = self._known[tenant]
            if self._exceeds(known, tenant, more, beside):
                raise QuotaExceeded(self._said(known, tenant, more))
        known.total += more

    def seems_full(self, tenant: str) -> bool:
        """Whether it is time to check: what is known costs nothing."""
        known = self._known.get(tenant)
        return bool(self._limit) and (known is None or self._exceeds(known, tenant, 0, None))

    def uploading(self, tenant: str) -> int:
        """Bytes of the tenant's unfinished uploads."""
        return self._uploading[tenant]

    @contextmanager
    def upload(self, database: TenantDatabase, tenant: str) -> Iterator[UploadReservation]:
        """An upload or its answer, as long as it lies on our disk."""
        held = UploadReservation(self, database, tenant, self._uploading)
        try:
            yield held
        finally:
            held.resize(0)

    def _exceeds(self, known: _Known, tenant: str, more: int, beside: UploadReservation | None) -> bool:
        uploading = self._uploading[tenant] - (beside.size_bytes if beside else 0)
        return known.total + uploading + more > self._limit

    def _said(self, known: _Known, tenant: str, more: int) -> str:
        asked = f"this would take about {more:,} bytes more; " if more else ""
        uploads = self._uploading[tenant]
        there = f"{known.total:,} bytes are stored or expected of queued jobs, {uploads:,} are being uploaded"
        return f"{asked}{there}, and {self._limit:,} are allowed: delete data sets or jobs that are not needed"


class UploadReservation:
    """Bytes of one unfinished upload."""

    def __init__(self, quota: StorageQuota, database: TenantDatabase, tenant: str, uploading: Counter[str]) -> None:
        self._quota, self._database, self._tenant = quota, database, tenant
        self._uploading = uploading
        self.size_bytes = 0

    def resize(self, size_bytes: int) -> None:
        """It takes so much now."""
        self._uploading[self._tenant] += size_bytes - self.size_bytes
        self.size_bytes = size_bytes
        if not self._uploading[self._tenant]:
            del self._uploading[self._tenant]

    def watch(self, request: Request) -> Request:
        """The request, whose body counts as it comes; reading it raises QuotaExceeded where it does not fit."""

        async def receive() -> Message:
            part = await request.receive()
            self.resize(self.size_bytes + len(part.get("body", b"")))
            if self._quota.seems_full(self._tenant):
                try:
                    await run_in_threadpool(self._quota.check, self._database, self._tenant)
                except QuotaExceeded:
                    self.resize(0)  # at once: the tenant's other uploads need not be refused as well
                    raise
            return part

        return Request(request.scope, receive)
