"""A forward proxy inside the process that reads a connection: it connects to the declared hosts alone.

Object stores follow redirects by themselves and resolve names again for each connection. With this proxy before them
they reach nothing but the addresses that were checked.
"""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterable
from contextlib import suppress
from itertools import takewhile
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

from service.connections.addresses import resolve
from service.errors import SourceError

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
MAX_LINE_BYTES = 16_384
MAX_HEADERS = 100
CHUNK_BYTES = 256 * 1024
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
DEFAULT_PORTS = {"http": 80, "https": 443}


class EgressProxy:
    """The proxy of one connection, at `url`; `refused` and `unreachable` are the hosts that it did not connect to."""

    def __init__(self, hosts: Iterable[str], *, allow_private: bool) -> None:
        """`hosts`: URLs, of which scheme, host and port count. Raises SourceError as `resolve` does."""
        self._addresses: dict[tuple[str, int], list[str]] = {}
        for url in hosts:
            try:
                host, port = host_and_port(url)
            except ValueError:
                raise SourceError("the URL or the endpoint of the connection has no valid host and port") from None
            self._addresses[host, port] = resolve(host, port, allow_private=allow_private)
        self.refused: str | None = None
        self.unreachable: str | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to a declared host, at one of its checked addresses.

        Raises PermissionError for any other host, ConnectionError if the host does not answer.
        """
        addresses = self._addresses.get((host.lower(), port))
        if addresses is None:
            self.refused = f"{host}:{port}"
            raise PermissionError(self.refused)
        for address in addresses:
            with suppress(OSError):
                return socket.create_connection((address, port), CONNECT_SECONDS)
        self.unreachable = f"{host}:{port}"
        raise ConnectionError(self.unreachable)


def host_and_port(url: str) -> tuple[str, int]:
    """Host, in lower case, and port of a URL; raises ValueError without."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not host or not port:
        raise ValueError("no host or no port")
    return host, port


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    proxy: EgressProxy


class _Handler(socketserver.StreamRequestHandler):
    rbufsize = 0  # what follows the headers belongs to the tunnel
    timeout = IDLE_SECONDS
    server: _Server

    def handle(self) -> None:
        """Serve one tunnel (CONNECT), or one request for a URL without TLS."""
        with suppress(OSError, ValueError):
            method, target, protocol = self.rfile.readline(MAX_LINE_BYTES).decode("latin-1").split()
            lines = (self.rfile.readline(MAX_LINE_BYTES) for _ in range(MAX_HEADERS))
            headers = list(takewhile(bytes.strip, lines))
            is_tunnel = method == "CONNECT"
            try:
                remote = self.server.proxy.connect(*host_and_port(f"//{target}" if is_tunnel else target))
            except PermissionError:
                self.wfile.write(REFUSED)
                return
            except ConnectionError:
                self.wfile.write(UNREACHABLE)  # which the store tries again
                return
            with remote:
                remote.settimeout(IDLE_SECONDS)
                if is_tunnel:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _relay(self.connection, remote)
                else:
                    remote.sendall(_request(method, target, protocol, headers))
                    while chunk := remote.recv(CHUNK_BYTES):
                        self.connection.sendall(chunk)


def _request(method: str, target: str, protocol: str, headers: list[bytes]) -> bytes:
    """The request as its server expects it; the connection ends after it, since the next may be for another host."""
    parts = urlsplit(target)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    kept = [line for line in headers if not line.lower().startswith((b"connection:", b"proxy-", b"keep-alive:"))]
    return b"".join([f"{method} {path} {protocol}\r\n".encode("latin-1"), *kept, b"Connection: close\r\n\r\n"])


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until both have ended, or neither has sent anything for IDLE_SECONDS. Raises OSError."""
    with selectors.DefaultSelector() as open_ends:
        open_ends.register(one, selectors.EVENT_READ, other)
        open_ends.register(other, selectors.EVENT_READ, one)
        while open_ends.get_map() and (ready := open_ends.select(IDLE_SECONDS)):
            for end, _ in ready:
                source, target = cast(socket.socket, end.fileobj), end.data
                if chunk := source.recv(CHUNK_BYTES):
                    target.sendall(chunk)
                else:
                    target.shutdown(socket.SHUT_WR)
                    open_ends.unregister(source)
