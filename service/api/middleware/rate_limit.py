"""How much a tenant may ask of one process of the API: requests a second, and streams and waits at a time."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.errors import RateLimited, TooManyStreams

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST_SECONDS = 2.0  # of requests, that may come at once after a while without


class Traffic:
    """One a process, on the event loop. `rate`: requests of a tenant in a second, 0: any number; `streams`: streams and
    waits of a tenant at once."""

    def __init__(self, rate: float, streams: int) -> None:
        self._rate, self._streams = rate, streams
        self._tokens: dict[str, tuple[float, float]] = {}  # how many there were, and when
        self._open: Counter[str] = Counter()

    def request(self, tenant: str) -> None:
        """Count a request; raises RateLimited."""
        if not self._rate:
            return
        most, now = max(1.0, self._rate * BURST_SECONDS), time.monotonic()
        tokens, since = self._tokens.get(tenant, (most, now))
        tokens = min(most, tokens + (now - since) * self._rate)
        self._tokens[tenant] = (tokens - 1.0 if tokens >= 1.0 else tokens), now
        if tokens < 1.0:
            error = RateLimited(f"more than {self._rate:g} requests a second")
            error.retry_seconds = math.ceil((1.0 - tokens) / self._rate)
            raise error

    @contextmanager
    def stream(self, tenant: str) -> Iterator[None]:
        """Count a stream or a waiting request while it is open; raises TooManyStreams."""
        if self._open[tenant] >= self._streams:
            raise TooManyStreams(f"{self._streams:,} streams and waits are open, which is as many as may be at a time")
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1

    def streams(self, tenant: str) -> int:
        """How many streams and waits are open."""
        return self._open[tenant]
