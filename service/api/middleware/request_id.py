"""Around every request: its id, and the last net for errors."""

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

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def _client_left(error: Exception) -> bool:
    """Whether FastAPI's event stream says in its way that the client has closed the connection."""
    gone = (anyio.BrokenResourceError, anyio.ClosedResourceError)
    return isinstance(error, ExceptionGroup) and error.split(gone)[1] is None


class RequestIds:
    """Gives each request an id, the client's own if it sent a sane `X-Request-Id`, and each failure a plain 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _SANE_ID.fullmatch(sent) else f"req_{uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        logs.always_about(request_id=request_id)  # this task and its threads serve nothing else
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, tagged)
        except Exception as error:
            if _client_left(error):
                return
            if started:  # too late for another answer: the server cuts the connection, so that it looks incomplete
                raise
            log.exception("request %s failed", request_id)
            response = problems.respond(Request(scope), 500, "internal", None)
            await response(scope, receive, tagged)
