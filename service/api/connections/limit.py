"""How many connections a server has at a time: beyond that the longest idle one is closed, or the new one refused."""

from __future__ import annotations

import errno
import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request
from uvicorn.server import ServerState

from service.api.http import problems
from service.errors import Unavailable

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

SPARE = 16  # connections beyond the limit that hear why they are refused; more are closed without a word
LOG_SECONDS = 60.0
SHED = 16  # idle connections that make way where the process runs out of descriptors
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ConnectionLimit(ServerState):
    """uvicorn's state of a server, with a limit of connections.

    `idle`: connections that wait for a request's head, those that have waited longest first.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.idle: dict[H11Protocol, None] = {}
        self._logged = self._shed = -LOG_SECONDS

    def admit(self, new: H11Protocol) -> None:
        """Make room for a connection that was just made."""
        if len(self.connections) <= self.limit:
            return
        self._log(
            f"{self.limit:,} connections are open, the most there may be: idle ones make way, or new ones are refused"
        )
        oldest = next(iter(self.idle), new)
        if oldest is not new:
            self._close(oldest)
        elif len(self.connections) > self.limit + SPARE:
            self._close(new)
        else:
            new.app = _refuse

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio's exception handler: it reports each failed accept, thousands of times a second when out of files."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED and "accept" in context.get("message", "")):
            loop.default_exception_handler(context)
            return
        self._log(f"no connection can be accepted: {error.strerror}; raise the limit of open files (`ulimit -n`)")
        if time.monotonic() - self._shed > 1.0:
            self._shed = time.monotonic()
            for oldest in list(self.idle)[:SHED]:
                self._close(oldest)

    def _close(self, connection: H11Protocol) -> None:
        self.idle.pop(connection, None)
        connection.transport.abort()

    def _log(self, message: str) -> None:
        """Once a minute: it happens for each new connection."""
        if time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            log.warning(message)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The application for a connection too many."""
    scope["state"]["request_id"] = f"req_{uuid4().hex}"
    response = problems.from_service_error(Request(scope), Unavailable("too many connections are open; try again"))
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
