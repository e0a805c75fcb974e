"""The uvicorn server, with a connection limit, timeouts for slow clients, and a shutdown that ends streams."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from service.api.connections.limit import ConnectionLimit
from service.api.connections.slow_clients import TimeoutProtocol

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.api.context import AppState

BACKLOG = 2_048  # listen backlog; a client beyond it retries after a second


class Server(uvicorn.Server):
    """Serves an app of `create_app` over at most `connections` concurrent connections; `options` are uvicorn's.

    `last_requests`: at shutdown, idle connections stay open for another request until their keep-alive timeout.
    """

    def __init__(self, app: FastAPI, *, connections: int = 10_000, last_requests: bool = False, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, http=TimeoutProtocol, ws="none", **options))
        self._last_requests = last_requests
        self.server_state = self._connection_limit = ConnectionLimit(connections)
        self._state: AppState = app.state.shared

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Install the event loop's exception handler, start, and raise the listen backlog."""
        asyncio.get_running_loop().set_exception_handler(self._connection_limit.on_loop_error)
        await super().startup(sockets)
        for listening in (each for server in self.servers for each in server.sockets):
            # asyncio uses one number for both the listen backlog and the connections accepted per loop iteration.
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times per second; once per second, close connections of slow clients."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in [each for each in self.server_state.connections if isinstance(each, TimeoutProtocol)]:
                if connection.too_slow(now):
                    connection.cut()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End waits and streams first, then shut down as uvicorn does."""
        self._state.watcher.stop()
        if self._last_requests:
            await self._answer_last_requests()
        await super().shutdown(sockets)

    async def _answer_last_requests(self) -> None:
        """Stop accepting, and close each connection by an answer that says so: no client sends a request in vain.

        uvicorn closes idle connections at once, just when their clients may have sent another request.
        """
        for server in self.servers:
            server.close()
        self._connection_limit.closing = True
        for connection in self.server_state.connections:
            if isinstance(connection, TimeoutProtocol):
                connection.close_after_response()
        deadline = time.monotonic() + self.config.timeout_keep_alive + 0.5
        while self.server_state.connections and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)
