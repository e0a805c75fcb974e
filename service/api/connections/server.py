"""uvicorn, but it waits neither for those who wait for a job as it shuts down, nor for clients that have stopped."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from service.api.connections.limit import ConnectionLimit
from service.api.connections.slow_clients import Connection

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.api.context import AppState

QUEUED = 2_048  # connections that wait to be accepted; one more would be tried again after a second


class Server(uvicorn.Server):
    """Serves what `create_app` made, over at most so many `connections` at a time; `options` are uvicorn's."""

    def __init__(self, app: FastAPI, *, connections: int = 10_000, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, http=Connection, ws="none", **options))
        self.server_state = self._capacity = ConnectionLimit(connections)
        self._state: AppState = app.state.shared

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Watch over the event loop first."""
        asyncio.get_running_loop().set_exception_handler(self._capacity.on_loop_error)
        await super().startup(sockets)
        for listening in (each for server in self.servers for each in server.sockets):
            # asyncio has one number for both: how many it accepts at once, and how many the system lets wait.
            with socket.socket(fileno=os.dup(listening.fileno())) as same:
                same.listen(QUEUED)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second look who is too slow."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in [each for each in self.server_state.connections if isinstance(each, Connection)]:
                if connection.too_slow(now):
                    connection.cut()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End waits and streams, then everything else in uvicorn's order."""
        self._state.watcher.stop()
        await super().shutdown(sockets)
