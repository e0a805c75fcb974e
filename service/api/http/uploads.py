"""Streams the body of an upload to a file, counting and hashing it; never whole in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.api.http.body_limit import limited
from service.errors import InvalidData, InvalidRequest, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHUNK_BYTES = 1024**2
MULTIPART_OVERHEAD = 64 * 1024


@dataclass(frozen=True)
class ReceivedUpload:
    """Hash and size of a received upload."""

    sha256: str
    size_bytes: int


async def receive(request: Request, target: Path, limit: int) -> ReceivedUpload:
    """Write the body, or the multipart field `file`, to `target`.

    Raises TooLarge past `limit` bytes, InvalidData for an empty body, InvalidRequest, StorageError.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        bounded = Request(request.scope, limited(request, limit, MULTIPART_OVERHEAD))
        async with bounded.form(max_files=1, max_fields=1) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InvalidRequest("the form has no file in the field `file`")
            upload = await _store(_parts(file), target)
    else:
        upload = await _store(Request(request.scope, limited(request, limit)).stream(), target)
    if upload.size_bytes == 0:
        raise InvalidData("the body is empty: send the file's bytes, or a form with the field `file`")
    return upload


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(CHUNK_BYTES):
        yield part


async def _store(parts: AsyncIterator[bytes], target: Path) -> ReceivedUpload:
    digest, size, pending = hashlib.sha256(), 0, bytearray()

    def flush(file: BinaryIO) -> None:
        digest.update(pending)
        file.write(pending)
        pending.clear()

    try:
        # Buffered: an unbuffered `write` may write only a part, and reports it only by its return value.
        with target.open("wb") as file:
            async for part in parts:
                size += len(part)
                pending += part
                if len(pending) >= CHUNK_BYTES:
                    await run_in_threadpool(flush, file)
            flush(file)
    except OSError as error:
        raise StorageError(f"the upload could not be stored: {error.strerror or error}") from error
    return ReceivedUpload(digest.hexdigest(), size)
