"""Protection of browsers: Host check against DNS rebinding, Origin check against CSRF, and security headers."""

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

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PAGE_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Swagger UI has inline scripts.
DOCS_POLICY = f"{PAGE_POLICY}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
ANY_HOST = ("/healthz", "/readyz")  # probes call by IP address, e.g. a kubelet
NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'"


class HostAndOriginMiddleware:
    """Refuses requests with a foreign `Host`, and state-changing requests that a page of another site sends.

    `hosts`: accepted names in `Host`, which health probes need not have; empty: any. `origins`: sites whose pages may
    send requests.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self.app, self._hosts, self._origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with 421 or 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                page = headers.get("content-type", "").startswith("text/html")
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Content-Security-Policy", _policy(scope["path"]) if page else NO_PAGE_POLICY)
                # Revalidated by ETag on each use, so that no stale file is used after an upgrade.
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        error = self._error(scope)
        if error is None:
            await self.app(scope, receive, send_with_headers)
        else:
            await problems.from_service_error(Request(scope), error)(scope, receive, send_with_headers)

    def _error(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and scope["path"] not in ANY_HOST and _hostname(host) not in self._hosts:
            return WrongHost(f"host {host!r} not allowed; add it to BESTEPOCH_HOSTS")
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin in self._origins:
            return None
        # Browsers send these headers and no page can forge them; other programs send neither.
        cross_site = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if cross_site or (origin is not None and urlsplit(origin).netloc != host):
            return CrossSite(
                f"request from {origin or 'another site'} not allowed; add the origin to BESTEPOCH_ORIGINS"
            )
        return None


def _policy(path: str) -> str:
    return DOCS_POLICY if path.startswith("/docs") else PAGE_POLICY


def _hostname(host: str) -> str:
    """`localhost:8000` -> `localhost`, `[::1]:8000` -> `::1`; empty where it is neither."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
