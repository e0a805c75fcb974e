"""Expensive work for a request: in a slot of its tenant, and cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request

    from service.api.context import RequestContext
    from service.concurrency.fair_slots import FairLimiter

T = TypeVar("T")


async def run(
    context: RequestContext, request: Request, limiter: FairLimiter, function: Callable[..., T], *arguments: object
) -> T:
    """What `function` returns, in a thread of `limiter`; the request's body must have been read.

    Raises ClientDisconnect when the client has gone: then the work was not started, or has been stopped.
    """
    return await until_disconnect(request, limiter.run(context.caller.tenant, function, *arguments))


async def until_disconnect(request: Request, coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of `coroutine`, which is cancelled when the client has gone: then raises ClientDisconnect."""
    work = asyncio.ensure_future(coroutine)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
    finally:
        gone.cancel()
        work.cancel()
    with suppress(asyncio.CancelledError):
        await work  # until it has stopped: files of the request go when this returns
    raise ClientDisconnect


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
