"""Brute-force protection: a token bucket of unknown API keys per client address."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from service.errors import TooManyFailedKeys

MAX_ADDRESSES = 10_000
TRUSTED_SECONDS = 3_600.0


@dataclass
class _Bucket:
    tokens: float
    refilled_at: float
    trusted_at: float = -math.inf  # when the operator's key was last sent from this address


class AuthThrottle:
    """Counts unknown keys per address, least recently used addresses evicted first. One per process, on the event loop.

    `per_minute`: rate and burst of unknown keys from one address; 0: no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise TooManyFailedKeys if the address has no token left. Call it before comparing a guessable key.

        An address that recently sent the operator's key passes: other clients behind its proxy cannot lock it out.
        """
        known = self._refilled(address)
        if known is None or known.tokens >= 1.0 or time.monotonic() - known.trusted_at < TRUSTED_SECONDS:
            return
        error = TooManyFailedKeys("too many unknown API keys from this address; try again later")
        error.retry_seconds = math.ceil((1.0 - known.tokens) * 60.0 / self._per_minute)
        raise error

    def record_failure(self, address: str) -> None:
        """Take a token for an unknown key; raises TooManyFailedKeys if none is left."""
        if not self._per_minute:
            return
        known = self._refilled(address)
        if known is None:
            known = self._remember(address)
        if known.tokens >= 1.0:
            known.tokens -= 1.0
            return
        error = TooManyFailedKeys()
        error.retry_seconds = math.ceil((1.0 - known.tokens) * 60.0 / self._per_minute)
        raise error

    def record_operator(self, address: str) -> None:
        """Trust the address for TRUSTED_SECONDS: it sent the operator's key."""
        if self._per_minute:
            known = self._buckets.get(address) or self._remember(address)
            known.trusted_at = time.monotonic()
            self._buckets.move_to_end(address)

    def _refilled(self, address: str) -> _Bucket | None:
        known = self._buckets.get(address)
        if known is not None:
            now = time.monotonic()
            known.tokens = min(self._per_minute, known.tokens + (now - known.refilled_at) * self._per_minute / 60.0)
            known.refilled_at = now
            self._buckets.move_to_end(address)
        return known

    def _remember(self, address: str) -> _Bucket:
        while len(self._buckets) >= MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        self._buckets[address] = known = _Bucket(float(self._per_minute), time.monotonic())
        return known


def address_of(client: tuple[str, int] | None) -> str:
    """The address that failures are counted for: an IPv4 address, or the /64 network of an IPv6 address."""
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) & ~((1 << 64) - 1), 64)))
