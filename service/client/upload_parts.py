"""Uploads of large files in parts: each part is retried alone, and an upload whose client was killed is resumed."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from service.client.transport import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from service.client.transport import Transport

UPLOADS = "/v1/datasets/uploads"
COMPLETE_SECONDS = 1_800.0  # for the service to read the whole file
CHUNK_BYTES = 1024**2
SENT_AGAIN = frozenset({409, 429})  # the upload can still be completed after these errors
OVERTAKEN = frozenset({404, 409})  # another client of the same file has completed or deleted the upload, or its parts
TRIES = 3


def upload_in_parts(
    transport: Transport, data: Path | bytes, fields: Mapping[str, Any], advance: Callable[[int], None] | None = None
) -> Any:
    """Upload a file or bytes in parts; returns the JSON of the data set.

    The service finds an upload of the same bytes that was begun before, by their SHA-256, and only missing parts are
    sent. `fields`: name and options for reading. `advance`: called with the number of bytes that are done.
    """
    with BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        size_bytes, sha256 = _measured(file)
        body = {**fields, "size_bytes": size_bytes, "sha256": sha256}
        progress = _Progress(advance)
        for left in reversed(range(TRIES)):
            upload = transport.json("POST", UPLOADS, json=body)
            try:
                return _sent(transport, upload, file, progress)
            except ApiError as error:
                if left and error.status in OVERTAKEN:
                    continue  # with what is there now
                if 400 <= error.status < 500 and error.status not in SENT_AGAIN:
                    transport.delete(f"{UPLOADS}/{upload['id']}")  # it counts against the quota
                raise
    raise AssertionError("the last try returns or raises")


def _sent(transport: Transport, upload: Any, file: BinaryIO, progress: _Progress) -> Any:
    """Send the parts that the service lacks; returns the JSON of the data set."""
    place = f"{UPLOADS}/{upload['id']}"
    _PartSender(transport, upload, place).send_missing(file, progress)
    return transport.json("POST", f"{place}/complete", timeout=COMPLETE_SECONDS)


class _Progress:
    """The parts that are done, each reported once."""

    def __init__(self, advance: Callable[[int], None] | None) -> None:
        self._advance = advance
        self._done: set[int] = set()

    def done(self, part: Any) -> None:
        """This part is stored."""
        if self._advance is not None and part["number"] not in self._done:
            self._done.add(part["number"])
            self._advance(part["size_bytes"])


def _measured(file: BinaryIO) -> tuple[int, str]:
    """(size in bytes, SHA-256)."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


class _PartSender:
    """The parts of an upload, sent to their URLs in the object store, or else to the service."""

    def __init__(self, transport: Transport, upload: Any, place: str) -> None:
        self._transport, self._upload, self._place = transport, upload, place
        self._urls = _urls(upload)
        self._store_fails = False

    def send_missing(self, file: BinaryIO, progress: _Progress) -> None:
        """Send the parts that the service lacks."""
        part_bytes = self._upload["part_bytes"]
        for part in self._upload["parts"]:
            if not part["received"]:
                file.seek((part["number"] - 1) * part_bytes)
                self._send(part["number"], file.read(part["size_bytes"]))
            progress.done(part)

    def _send(self, number: int, data: bytes) -> None:
        for _ in range(2):
            url = self._urls.get(number)
            if url is None or self._store_fails:
                break
            if self._transport.put_to_store(url, data):
                return
            self._urls = _urls(self._transport.json("GET", self._place))  # they may have expired
        else:
            self._store_fails = True  # the store cannot be reached from here
        self._transport.request("PUT", f"{self._place}/parts/{number}", content=data)


def _urls(upload: Any) -> dict[int, str | None]:
    """The URLs of parts in the object store; none of an upload that is complete."""
    return {part["number"]: part["url"] for part in upload["parts"]}
