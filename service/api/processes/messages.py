"""Messages between the parent and its API processes: one JSON object a line, over a Unix socket pair."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

MAX_BYTES = 64 * 1024**2  # of a message; the metrics of a process take some 100 KB

Message = dict[str, Any]


class Channel:
    """One end of a socket pair, on an event loop. Messages to an end that has closed are dropped."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """A channel over this end, which it closes."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MAX_BYTES))

    def send(self, **message: Any) -> None:
        """Send a message; does not wait."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """The messages of the other end, until it closes."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except ConnectionError:
            return

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
