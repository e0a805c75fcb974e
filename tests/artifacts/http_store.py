"""A folder whose files have URLs of another server, which takes and gives them without an API key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from service.artifacts import FolderArtifacts


class HttpStore(ThreadingHTTPServer):
    """The server: GET and PUT of files below a folder; `refuses`: answers 403, as for an expired URL."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.refuses, self.damages = folder, False, False
        self.requests: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HttpStore

    def do_GET(self) -> None:
        path = self._path()
        if self.server.refuses or not path.exists():
            self._answer(403 if self.server.refuses else 404)
            return
        data = path.read_bytes()
        if self.server.damages:
            data = data[:-1] + bytes([data[-1] ^ 1])
        first, _, last = self.headers.get("range", "").removeprefix("bytes=").partition("-")
        status, part = (206, data[int(first) : int(last) + 1 if last else None]) if first else (200, data)
        self._answer(status, part)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        if not self.server.refuses:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._answer(403 if self.server.refuses else 200)

    def _path(self) -> Path:
        return self.server.folder / self.path.partition("?")[0].removeprefix("/")

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.server.requests.append((self.command, dict(self.headers)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class ArtifactsWithUrls(FolderArtifacts):
    """Artifacts in the folder of a server."""

    def __init__(self, server: HttpStore) -> None:
        super().__init__(server.folder)
        self._server = server

    def url(self, key: str, seconds: int) -> Any:
        return f"{self._server.url}/{key}?expires={seconds}"

    def upload_url(self, key: str, seconds: int) -> Any:
        return f"{self._server.url}/{key}?expires={seconds}"


@contextmanager
def http_store(folder: Path) -> Iterator[HttpStore]:
    """A running server."""
    with HttpStore(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
