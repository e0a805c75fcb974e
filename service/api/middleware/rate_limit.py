"""Limits of a tenant: requests per second (token bucket), and concurrent streams and waits."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.errors import RateLimited, TooManyStreams

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BURST_SECONDS = 2.0  # burst size: so many seconds' worth of requests


class RateLimiter:
    """A token bucket and a count of open streams per tenant; one per process, on the event loop.

    `rate`: requests of a tenant per second; 0: no limit. `streams`: concurrent streams and waits of a tenant. What
    other processes have accepted is subtracted when it becomes known: see `processes/shared_limits.py`.
    """

    def __init__(self, rate: float, streams: int) -> None:
        self._rate, self._streams = rate, streams
        self.burst = max(1.0, rate * BURST_SECONDS)
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and at what time
        # Tokens of the bucket of all processes, at what time, and how many requests this one had accepted.
        self._common: dict[str, tuple[float, float, int]] = {}
        self._open_streams: Counter[str] = Counter()
        self.streams_elsewhere: Mapping[str, int] = {}
        """Open streams and waits of other processes, of each tenant that has some."""
        self.accepted: Counter[str] = Counter()
        """Requests accepted of each tenant, if there is a rate limit."""

    def request(self, tenant: str) -> None:
        """Take a token for a request; raises RateLimited if none is left."""
        if not self._rate:
            return
        now = time.monotonic()
        tokens = self._refilled(tenant, now)
        self._buckets[tenant] = (tokens - 1.0 if tokens >= 1.0 else tokens), now
        if tokens < 1.0:
            error = RateLimited(f"more than {self._rate:g} requests per second")
            error.retry_seconds = math.ceil((1.0 - tokens) / self._rate)
            raise error
        self.accepted[tenant] += 1

    def count_others(self, requests: Mapping[str, int], streams: Mapping[str, int]) -> None:
        """Count what other processes have: requests of each tenant since its last call, and open streams."""
        now = time.monotonic()
        for tenant, number in requests.items():
            self._buckets[tenant] = self._common_tokens(tenant, number, now), now
            self._common[tenant] = *self._buckets[tenant], self.accepted[tenant]
        self.streams_elsewhere = streams

    def _common_tokens(self, tenant: str, elsewhere: int, now: float) -> float:
        """The tokens of a bucket that all processes take theirs from; negative after they have taken too many."""
        if tenant not in self._common:
            return self._refilled(tenant, now)
        tokens, refilled_at, accepted = self._common[tenant]
        taken = elsewhere + self.accepted[tenant] - accepted
        return min(self.burst, tokens + (now - refilled_at) * self._rate - taken)

    def _refilled(self, tenant: str, now: float) -> float:
        """The tokens of a tenant."""
        tokens, refilled_at = self._buckets.get(tenant, (self.burst, now))
        return min(self.burst, tokens + (now - refilled_at) * self._rate)

    @contextmanager
    def stream(self, tenant: str) -> Iterator[None]:
        """Count a stream or a waiting request while it is open; raises TooManyStreams."""
        if self.streams(tenant) >= self._streams:
            raise TooManyStreams(f"{self._streams:,} streams and waits are open, the maximum")
        self._open_streams[tenant] += 1
        try:
            yield
        finally:
            self._open_streams[tenant] -= 1
            if not self._open_streams[tenant]:
                del self._open_streams[tenant]

    def streams(self, tenant: str) -> int:
        """Number of open streams and waits, of all processes."""
        return self._open_streams[tenant] + self.streams_elsewhere.get(tenant, 0)

    @property
    def own_streams(self) -> Mapping[str, int]:
        """Open streams and waits of this process, of each tenant."""
        return self._open_streams
