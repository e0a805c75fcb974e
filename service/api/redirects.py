"""Downloads of stored files by a redirect to a presigned URL of the object store, where the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api.http.ranges import etag_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from service.api.context import RequestContext

URL_SECONDS = 300
"""How long a presigned URL of a download is valid; a download that has begun goes on."""


async def redirect_to_store(
    context: RequestContext,
    request: Request,
    find: Callable[[], tuple[str, str]],
    more: Mapping[str, str] | None = None,
) -> Response | None:
    """The answer to GET that redirects to a file's URL, with its SHA-256 as ETag; None if the API has to send it.

    It sends what the store cannot: `If-Range` with this ETag, HEAD, and files to scripts of browsers, for which the
    bucket would need CORS. `find`: (artifact key, SHA-256), called in a thread. `more`: other headers.
    """
    if context.state.settings.transfers != "presigned" or request.method != "GET" or "if-range" in request.headers:
        return None
    if request.headers.get("sec-fetch-mode") in ("cors", "same-origin"):
        return None
    return await run_in_threadpool(_redirect, context, request, find, more or {})


def _redirect(
    context: RequestContext, request: Request, find: Callable[[], tuple[str, str]], more: Mapping[str, str]
) -> Response | None:
    """None if the store has no URLs, or lacks the file: then the API says so."""
    key, sha256 = find()
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "no-store", **more}
    if etag_matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    url = context.state.artifacts.url(key, URL_SECONDS)
    if url is None or context.state.artifacts.size(key) is None:
        return None
    return Response(status_code=307, headers={**headers, "Location": url})
