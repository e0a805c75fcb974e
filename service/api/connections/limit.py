"""The connection limit: beyond it, the longest idle connection is closed, or the new one refused."""

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

SPARE = 16  # connections beyond the limit that get a 503; more are closed without a response
LOG_SECONDS = 60.0
SHED = 16  # idle connections to close when the process runs out of file descriptors
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ConnectionLimit(ServerState):
    """uvicorn's server state with a connection limit.

    `idle`: keep-alive connections without a request, longest idle first.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.idle: dict[H11Protocol, None] = {}
        self.closing = False  # every response is the last one of its connection
        self._logged = self._shed = -LOG_SECONDS

    def admit(self, new: H11Protocol) -> None:
        """Apply the limit to a new connection."""
        if len(self.connections) <= self.limit:
            return
        self._log(f"connection limit of {self.limit:,} reached: closing idle connections, or refusing new ones")
        oldest = next(iter(self.idle), new)
        if oldest is not new:
            self._close(oldest)
        elif len(self.connections) > self.limit + SPARE:
            self._close(new)
        else:
            new.app = _refuse

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio's exception handler: without file descriptors, accept fails thousands of times per second."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED and "accept" in context.get("message", "")):
            loop.default_exception_handler(context)
            return
        self._log(f"cannot accept connections: {error.strerror}; raise the limit of open files (`ulimit -n`)")
        if time.monotonic() - self._shed > 1.0:
            self._shed = time.monotonic()
            for oldest in list(self.idle)[:SHED]:
                self._close(oldest)

    def _close(self, connection: H11Protocol) -> None:
        self.idle.pop(connection, None)
        connection.transport.abort()

    def _log(self, message: str) -> None:
        """Log at most once per minute."""
        if time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            log.warning(message)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of a refused connection: a 503."""
    scope["state"]["request_id"] = f"req_{uuid4().hex}"
    response = problems.from_service_error(Request(scope), Unavailable("too many connections are open; try again"))
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
