"""uvicorn, but those who wait are answered as soon as it shuts down: it would wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from service.api.deps import Parts


class Server(uvicorn.Server):
    """Serves what `create_app` made; `options` are uvicorn's."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        super().__init__(uvicorn.Config(app, **options))
        self._parts: Parts = app.state.parts

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End waits and streams, then everything else in uvicorn's order."""
        self._parts.watcher.stop()
        await super().shutdown(sockets)
