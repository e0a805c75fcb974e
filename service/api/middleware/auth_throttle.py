"""Unknown keys, by the address that sends them: one that has sent many may not try out further ones."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from service.errors import TooManyFailedKeys

MOST_ADDRESSES = 10_000
PROVEN_SECONDS = 3_600.0


@dataclass
class _Address:
    tokens: float
    since: float
    proven: float = -math.inf  # when the operator's key last came from here


class FailedKeys:
    """One a process, on the event loop: a token bucket for each address, those heard of longest ago forgotten first.

    `per_minute`: unknown keys that an address may send in a minute, as many at once after a while without; 0: any
    number.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._known: OrderedDict[str, _Address] = OrderedDict()

    def check(self, address: str) -> None:
        """Before a key is compared that somebody may have guessed; raises TooManyFailedKeys.

        An address that the operator's key came from is not shut out by others behind the same proxy.
        """
        known = self._refilled(address)
        if known is None or known.tokens >= 1.0 or time.monotonic() - known.proven < PROVEN_SECONDS:
            return
        error = TooManyFailedKeys("this address has sent too many unknown keys; its keys are not tried for a while")
        error.retry_seconds = math.ceil((1.0 - known.tokens) * 60.0 / self._most)
        raise error

    def failed(self, address: str) -> None:
        """An unknown key came from there; raises TooManyFailedKeys where it was one too many."""
        if not self._most:
            return
        known = self._refilled(address)
        if known is None:
            known = self._remember(address)
        if known.tokens >= 1.0:
            known.tokens -= 1.0
            return
        error = TooManyFailedKeys()
        error.retry_seconds = math.ceil((1.0 - known.tokens) * 60.0 / self._most)
        raise error

    def proven(self, address: str) -> None:
        """The operator's key came from there."""
        if self._most:
            known = self._known.get(address) or self._remember(address)
            known.proven = time.monotonic()
            self._known.move_to_end(address)

    def _refilled(self, address: str) -> _Address | None:
        known = self._known.get(address)
        if known is not None:
            now = time.monotonic()
            known.tokens = min(self._most, known.tokens + (now - known.since) * self._most / 60.0)
            known.since = now
            self._known.move_to_end(address)
        return known

    def _remember(self, address: str) -> _Address:
        while len(self._known) >= MOST_ADDRESSES:
            self._known.popitem(last=False)
        self._known[address] = known = _Address(float(self._most), time.monotonic())
        return known


def address_of(client: tuple[str, int] | None) -> str:
    """Whom failures are counted for: an IPv4 address, or the /64 of an IPv6 one, which is a single customer's."""
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
