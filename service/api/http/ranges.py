"""File responses with ETag, conditional requests and a single byte range (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CHUNK_BYTES = 256 * 1024
JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
OCTETS = "application/octet-stream"
_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}


def documented(*media_types: str, headers: Mapping[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The responses of `serve`, for the OpenAPI document; `headers`: others of its."""
    file = {
        "description": "The file, or the requested range of it.",
        "content": {media_type: {"schema": _TEXT if media_type == CSV else _BYTES} for media_type in media_types},
        "headers": {
            "ETag": {"description": "SHA-256 of the file, in quotes.", "schema": {"type": "string"}},
            **(headers or {}),
        },
    }
    return {
        200: file,
        206: {**file, "description": "The requested range."},
        304: {"description": "Not modified."},
        307: {
            "description": "The file is at the URL in `Location`, for some minutes, without an API key.",
            "headers": {"Location": {"description": "URL in the object store.", "schema": {"type": "string"}}},
        },
    }


_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


def serve(
    request: Request,
    file: BinaryIO,
    size: int,
    sha256: str,
    filename: str,
    media_type: str = OCTETS,
    more: Mapping[str, str] | None = None,
) -> Response:
    """The response to GET or HEAD with all of `file`, or the requested range; closes the file at the end.

    `more`: other headers.
    """
    etag = f'"{sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache", **(more or {})}
    if etag_matches(request.headers.get("if-none-match"), etag):
        file.close()
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    status, start, stop = 200, 0, size
    if request.headers.get("if-range", etag) == etag and request.method == "GET":
        try:
            part = byte_range(request.headers.get("range", ""), size)
        except HTTPException:
            file.close()
            raise
        if part is not None:
            status, start, stop = 206, part.start, part.stop
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return OpenFileResponse(file, range(start, stop), status, headers, media_type)


def byte_range(header: str, size: int) -> range | None:
    """The requested bytes; None for a header to ignore, such as several ranges.

    Raises a 416 for a range outside the file.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise HTTPException(416, f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return range(start, stop)


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the header If-None-Match names this ETag, so that the answer is a 304."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]


class OpenFileResponse(StreamingResponse):
    """A range of an open file, streamed from disk.

    Closes the file at the end, even if the client disconnects: the file may already be unlinked.
    """

    def __init__(
        self, file: BinaryIO, part: range, status: int, headers: dict[str, str], media_type: str = OCTETS
    ) -> None:
        super().__init__(_chunks(file, part.start, part.stop), status, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def whole(file: BinaryIO, headers: dict[str, str], media_type: str) -> OpenFileResponse:
    """All of an open file with its Content-Length; closes it at the end."""
    size = file.seek(0, 2)
    return OpenFileResponse(file, range(size), 200, {"Content-Length": str(size), **headers}, media_type)


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while chunk := file.read(min(CHUNK_BYTES, stop - start)):
        start += len(chunk)
        yield chunk
