"""A limit on the bytes of a request's body, enforced while it is received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive


def limited(request: Request, limit: int, overhead: int = 0) -> Receive:
    """The request's `receive`, which raises TooLarge for a body over `limit` bytes, by Content-Length or received.

    `overhead`: additional bytes that are accepted, for the framing of multipart forms.
    """
    received = 0
    message = f"the body is larger than {limit:,} bytes, the limit of this endpoint"
    content_length = request.headers.get("content-length", "")

    async def receive() -> Message:
        nonlocal received
        if content_length.isdecimal() and int(content_length[:18]) > limit + overhead:
            raise TooLarge(message)
        part = await request.receive()
        received += len(part.get("body", b""))
        if received > limit + overhead:
            raise TooLarge(message)
        return part

    return receive
