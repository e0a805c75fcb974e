"""A limit on the bytes of a request's body, enforced while it is received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive


def limited(request: Request, limit: int, overhead: int = 0) -> Receive:
    """The request's `receive`, which raises TooLarge for a body of more than `limit` bytes, announced or not.

    `overhead`: bytes that may come on top, of which nobody needs to be told.
    """
    received = 0
    message = f"the body is larger than {limit:,} bytes, the most that this server accepts here"
    announced = request.headers.get("content-length", "")

    async def receive() -> Message:
        nonlocal received
        if announced.isdecimal() and int(announced[:18]) > limit + overhead:
            raise TooLarge(message)
        part = await request.receive()
        received += len(part.get("body", b""))
        if received > limit + overhead:
            raise TooLarge(message)
        return part

    return receive
