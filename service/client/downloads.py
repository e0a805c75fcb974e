"""Downloads of files: streamed, resumed where the connection broke, verified by their SHA-256."""

from __future__ import annotations

import hashlib
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import httpx2

from service.client.transport import EXPORT_SECONDS, RETRIED, ApiError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2 import Headers

    from service.client.transport import Transport


class DamagedDownload(OSError):
    """The bytes that were received do not have the SHA-256 that the service gave."""


def read(transport: Transport, path: str, params: dict[str, Any]) -> bytes:
    """The bytes of a file; raises ApiError, ServiceUnavailable, DamagedDownload."""
    file = BytesIO()
    _receive(transport, path, params, file)
    return file.getvalue()


def save(
    transport: Transport, path: str, params: dict[str, Any], target: str | Path, name: Callable[[Headers], str]
) -> Path:
    """Save a file as `target`, or in the folder `target` under a default name; returns its path. Raises as `read`.

    `name`: the default name, by the headers of the response.
    """
    target = Path(target)
    folder = target if target.is_dir() else target.parent
    partial = folder / f".{target.name or 'file'}.part"
    try:
        with partial.open("wb") as file:
            headers = _receive(transport, path, params, file)
        target = target / name(headers) if target.is_dir() else target
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _receive(transport: Transport, path: str, params: dict[str, Any], file: BinaryIO) -> Headers:
    """Write the file to `file`; returns the headers of the service's response."""
    state = _Received(file)
    for pause in transport.pauses():
        try:
            return state.receive(transport, path, params)
        except httpx2.TransportError as error:
            if pause is None:
                raise ServiceUnavailable(transport.url, error or type(error).__name__) from error
            time.sleep(pause)
        except ApiError as error:
            if pause is None or error.status not in RETRIED:
                raise
            time.sleep(pause)
    raise AssertionError("the last pause is None")


class _Received:
    """What has been received of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._etag, self._digest = file, "", hashlib.sha256()

    def receive(self, transport: Transport, path: str, params: dict[str, Any]) -> Headers:
        """Receive the rest."""
        begun = self._file.tell()
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        with transport.stream_file(path, params=params, headers=headers, timeout=EXPORT_SECONDS) as (
            response,
            answered,
        ):
            etag = answered.get("etag", "")
            if response.status_code != 206 or etag != self._etag:
                self._restart(etag)
            if response.status_code == 206 and self._file.tell() != begun:
                raise httpx2.ReadError("the file has changed meanwhile")  # the next try begins at its start
            for chunk in response.iter_raw():
                self._file.write(chunk)
                self._digest.update(chunk)
        found = self._digest.hexdigest()
        if self._etag and found != self._etag.strip('"'):
            raise DamagedDownload(f"the downloaded file has the SHA-256 {found}, not {self._etag}")
        return answered

    def _restart(self, etag: str) -> None:
        self._etag, self._digest = etag, hashlib.sha256()
        self._file.seek(0)
        self._file.truncate()
