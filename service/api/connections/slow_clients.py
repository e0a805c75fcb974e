"""A client's connection that is closed when it neither sends nor reads: it would be held open for ever."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.connections.limit import ConnectionLimit

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0  # of a request, from its first byte to the last of its body
SLOWEST_BYTES = 1_000.0  # a second: what has arrived buys time for the rest
READ_SECONDS = 60.0  # that a client may leave an answer unread, once what it has not read fills every buffer


class Connection(H11Protocol):
    """uvicorn's, but for the deadlines; the server asks `too_slow` now and then."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._began, self._received = time.monotonic(), 0
        self._unread_since: float | None = None
        assert isinstance(self.server_state, ConnectionLimit)
        self._capacity = self.server_state

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Where there are too many, another one is closed, or this one."""
        super().connection_made(transport)
        self._capacity.admit(self)
        self._track_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave room for others."""
        self._capacity.idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives."""
        self._received += len(data)
        super().data_received(data)
        self._track_idle()

    def on_response_complete(self) -> None:
        """What arrives from now on is another request."""
        self._began, self._received = time.monotonic(), 0
        super().on_response_complete()
        self._track_idle()

    def _track_idle(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._capacity.idle.setdefault(self)
        else:
            self._capacity.idle.pop(self, None)

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._unread_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._unread_since = None
        super().resume_writing()

    def too_slow(self, now: float) -> bool:
        """Whether the client has had enough time."""
        if self._unread_since is not None:
            return now - self._unread_since > READ_SECONDS
        arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.flow.read_paused
        return arriving and now - self._began > GRACE_SECONDS + self._received / SLOWEST_BYTES

    def cut(self) -> None:
        """Close without waiting for anything."""
        log.info("closed the connection of %s, which neither sends nor reads", self.client)
        transport: asyncio.Transport = self.transport
        transport.abort()
