"""What a web page of somebody else could make a visitor's browser do here, refused; and headers against the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from service.api.http import problems
from service.errors import CrossSite, ServiceError, WrongHost

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = ("GET", "HEAD", "OPTIONS")
PAGES = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
DOCUMENTATION = f"{PAGES}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"  # has its script in it
NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Turns away requests under a name that is not ours, and those that another site's page sends.

    `hosts`: names that `Host` may have; none: any. `origins`: sites whose pages may send.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self.app, self._hosts, self._origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or turn it away."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                page = headers.get("content-type", "").startswith("text/html")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Content-Security-Policy"] = _policy(scope["path"]) if page else NO_PAGE
                # An ETag is asked about each time; after an upgrade no file of the page before is left.
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        wrong = self._wrong(scope)
        if wrong is None:
            await self.app(scope, receive, guarded)
        else:
            await problems.from_service_error(Request(scope), wrong)(scope, receive, guarded)

    def _wrong(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return WrongHost(f"this server does not go by the name of {host!r}; BESTEPOCH_HOSTS lists other names")
        if scope["method"] in SAFE:
            return None
        origin = headers.get("origin")
        if origin in self._origins:
            return None
        # Browsers say where a request comes from; other programs don't, and no page can make them send one.
        foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != host):
            return CrossSite(f"a page of {origin or 'another site'} sent this; BESTEPOCH_ORIGINS lists sites that may")
        return None


def _policy(path: str) -> str:
    return DOCUMENTATION if path.startswith("/docs") else PAGES


def _name(host: str) -> str:
    """`localhost:8000` -> `localhost`, `[::1]:8000` -> `::1`; empty where it is neither."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
