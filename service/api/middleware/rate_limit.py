"""Rate limit of a tenant, per API process: requests per second (token bucket), and concurrent streams and waits."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.errors import RateLimited, TooManyStreams

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST_SECONDS = 2.0  # burst size: so many seconds' worth of requests


class RateLimiter:
    """A token bucket and a count of open streams per tenant; one per process, on the event loop.

    `rate`: requests of a tenant per second; 0: no limit. `streams`: concurrent streams and waits of a tenant.
    """

    def __init__(self, rate: float, streams: int) -> None:
        self._rate, self._streams = rate, streams
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and at what time
        self._open_streams: Counter[str] = Counter()

    def request(self, tenant: str) -> None:
        """Take a token for a request; raises RateLimited if none is left."""
        if not self._rate:
            return
        burst, now = max(1.0, self._rate * BURST_SECONDS), time.monotonic()
        tokens, refilled_at = self._buckets.get(tenant, (burst, now))
        tokens = min(burst, tokens + (now - refilled_at) * self._rate)
        self._buckets[tenant] = (tokens - 1.0 if tokens >= 1.0 else tokens), now
        if tokens < 1.0:
            error = RateLimited(f"more than {self._rate:g} requests per second")
            error.retry_seconds = math.ceil((1.0 - tokens) / self._rate)
            raise error

    @contextmanager
    def stream(self, tenant: str) -> Iterator[None]:
        """Count a stream or a waiting request while it is open; raises TooManyStreams."""
        if self._open_streams[tenant] >= self._streams:
            raise TooManyStreams(f"{self._streams:,} streams and waits are open, the maximum")
        self._open_streams[tenant] += 1
        try:
            yield
        finally:
            self._open_streams[tenant] -= 1

    def streams(self, tenant: str) -> int:
        """Number of open streams and waits."""
        return self._open_streams[tenant]
