"""Request ids, and a 500 for unhandled exceptions."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from service import logs
from service.api.http import problems

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def _is_disconnect(error: Exception) -> bool:
    """Whether FastAPI's event stream failed only because the client has disconnected."""
    closed = (anyio.BrokenResourceError, anyio.ClosedResourceError)
    return isinstance(error, ExceptionGroup) and error.split(closed)[1] is None


class RequestIdMiddleware:
    """Sets `X-Request-Id`, taken from the request if valid, and answers unhandled exceptions with a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _VALID_ID.fullmatch(sent) else f"req_{uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        logs.always_about(request_id=request_id)  # the context of this task and its threads ends with the request
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            if _is_disconnect(error):
                return
            if started:  # the status is sent: close the connection, so that the client sees a truncated response
                raise
            log.exception("request %s failed", request_id)
            response = problems.respond(Request(scope), 500, "internal", None)
            await response(scope, receive, send_with_id)
