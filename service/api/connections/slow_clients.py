"""Timeouts of slow clients (slowloris): connections that send or read too slowly are closed."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.api.connections.limit import ConnectionLimit

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0  # for a request, from its first byte to the last of its body
MIN_BYTES_PER_SECOND = 1_000.0  # received bytes extend the deadline
READ_SECONDS = 60.0  # how long a client may stop reading a response, once all buffers are full


class TimeoutProtocol(H11Protocol):
    """uvicorn's HTTP protocol with deadlines; the server polls `too_slow`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._began, self._received = time.monotonic(), 0
        self._unread_since: float | None = None
        assert isinstance(self.server_state, ConnectionLimit)
        self._limit = self.server_state

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Apply the connection limit."""
        super().connection_made(transport)
        self._limit.admit(self)
        self._track_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove it from the idle connections."""
        self._limit.idle.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count received bytes."""
        self._received += len(data)
        super().data_received(data)
        self._track_idle()
        if self._limit.closing:
            self.close_after_response()

    def close_after_response(self) -> None:
        """Answer a request that waits for its response with `Connection: close`."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_started:
            self.headers.append(CLOSE_HEADER)  # uvicorn answers with the same

    def on_response_complete(self) -> None:
        """Reset the deadline for the next request."""
        self._began, self._received = time.monotonic(), 0
        super().on_response_complete()
        self._track_idle()

    def _track_idle(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._limit.idle.setdefault(self)
        else:
            self._limit.idle.pop(self, None)

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes: start the read timeout."""
        self._unread_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._unread_since = None
        super().resume_writing()

    def too_slow(self, now: float) -> bool:
        """Whether a deadline has passed."""
        if self._unread_since is not None:
            return now - self._unread_since > READ_SECONDS
        arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.flow.read_paused
        return arriving and now - self._began > GRACE_SECONDS + self._received / MIN_BYTES_PER_SECOND

    def cut(self) -> None:
        """Close at once."""
        log.info("closed the connection of %s, which neither sends nor reads", self.client)
        transport: asyncio.Transport = self.transport
        transport.abort()
