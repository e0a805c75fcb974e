"""The route class of the API: checks scope, query parameter names, and the body's size and media type first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request

from service.api.context import check_scopes, scopes_of
from service.api.http.body_limit import limited
from service.api.http.json_body import MAX_JSON_BYTES, JsonBody, ParsedRequest
from service.api.http.suggestions import unknown
from service.api.http.validation_errors import MAX_ERRORS
from service.spec.text import similar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from starlette.responses import Response


class StrictRoute(APIRoute):
    """A path operation that refuses unknown and repeated query parameters, and bodies other than JSON up to 2 MiB."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, preceded by the checks."""
        handle = super().get_route_handler()
        repeatable = {
            p.alias: "list[" in f"{p.field_info.annotation}"
            for p in get_flat_params(self.dependant)
            if isinstance(p.field_info, Query)
        }

        required = scopes_of(self.dependant)
        body = None if self.body_field is None else JsonBody(self.body_field)

        async def checked(request: Request) -> Response:
            check_scopes(request, required)  # first: do not read the body of a request that will be refused
            _check_parameters(request, repeatable)
            if body is None:
                return await handle(request)
            _check_content_type(request)
            content = await Request(request.scope, limited(request, MAX_JSON_BYTES)).body()
            value = await body.read(content, request.app.state.shared.parse_slots) if content else None
            return await handle(ParsedRequest(request.scope, request.receive, content, value))

        return checked


def _check_parameters(request: Request, known: Mapping[str, bool]) -> None:
    """Refuse unknown and repeated query parameters, and NUL, which Postgres cannot store. See decision 48.

    `known`: the parameters' names, and whether each may be repeated; `label.KEY` matches any name after `label.`.
    """
    found, seen = list[tuple[str, str]](), set[str]()
    for name, value in request.query_params.multi_items():
        group, dot, _ = name.partition(".")
        if name not in known and not (dot and f"{group}.KEY" in known):
            message = unknown("parameter", similar(name, known))
            found.append((name, f"{message} (known: {', '.join(sorted(known)) or 'none'})"))
        elif name in seen and not known.get(name):
            found.append((name, "is given twice"))
        elif "\0" in name + value:
            found.append((name, "must not hold a NUL character"))
        seen.add(name)
        if len(found) >= MAX_ERRORS:
            break
    if found:
        raise RequestValidationError([{"type": "parameter", "loc": ("query", n), "msg": m} for n, m in found])
    if any("\0" in value for value in request.path_params.values()):
        raise HTTPException(404)


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and not is_json(content_type):
        sent = _media_type(content_type) or "missing"
        raise HTTPException(415, f"the body must be application/json; its Content-Type is {sent}")


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says that the body is JSON."""
    sent = _media_type(content_type)
    return sent == "application/json" or (sent.startswith("application/") and sent.endswith("+json"))


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
