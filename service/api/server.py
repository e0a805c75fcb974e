"""uvicorn, but it waits neither for those who wait for a job as it shuts down, nor for clients that have stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import uvicorn

from service.api.connection import Connection

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from service.api.deps import Parts


class Server(uvicorn.Server):
    """Serves what `create_app` made; `options` are uvicorn's."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, http=Connection, ws="none", **options))
        self._parts: Parts = app.state.parts

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
        self._parts.watcher.stop()
        await super().shutdown(sockets)
