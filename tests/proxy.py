"""A TCP proxy before a Postgres server that can fall silent: it then accepts connections and swallows what is sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """Forwards bytes both ways until `silent` is set; `url` is the database's by way of it."""

    def __init__(self, url: str) -> None:
        options = conninfo_to_dict(url)
        self._target = str(options.get("host")), int(options.get("port") or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0))
        parts = urlsplit(url)
        port = self._listening.getsockname()[1]
        user = parse_qs(parts.query).get("user", [parts.username])[0]
        self.url = f"postgresql://{user}@127.0.0.1:{port}{parts.path}"
        self.silent = threading.Event()
        self._sockets: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                self._sockets += client, server
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if not self.silent.is_set():
                    other.sendall(data)
            for each in (one, other):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close every connection."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxied(url: str) -> Iterator[Any]:
    """A proxy before the database at `url`."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
