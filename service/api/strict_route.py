"""What is checked of every request before its parameters are: scope, unknown parameters, the body's size and type."""

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

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from starlette.responses import Response

MAX_ERRORS = 20


class StrictRoute(APIRoute):
    """A path operation that takes no body but JSON, of at most 2 MiB, and no query parameter that it doesn't know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind these checks."""
        handle = super().get_route_handler()
        known = {
            p.alias: "list[" in f"{p.field_info.annotation}"
            for p in get_flat_params(self.dependant)
            if isinstance(p.field_info, Query)
        }

        needed = scopes_of(self.dependant)
        body = None if self.body_field is None else JsonBody(self.body_field)

        async def checked(request: Request) -> Response:
            check_scopes(request, needed)  # first: the body of a request that will be refused is not read
            _check_parameters(request, known)
            if body is None:
                return await handle(request)
            _check_content_type(request)
            content = await Request(request.scope, limited(request, MAX_JSON_BYTES)).body()
            value = await body.read(content, request.app.state.shared.parse_slots) if content else None
            return await handle(ParsedRequest(request.scope, request.receive, content, value))

        return checked


def _check_parameters(request: Request, known: Mapping[str, bool]) -> None:
    """Refuse unknown names, those that come twice, and NUL, which no text in the database can hold.

    `known`: names, and whether they may come more than once; `label.KEY` stands for any `label.`.
    """
    faults, seen, there_are = [], set[str](), ", ".join(sorted(known)) or "none"
    for name, value in request.query_params.multi_items():
        group, dot, _ = name.partition(".")
        if name not in known and not (dot and f"{group}.KEY" in known):
            faults.append((name, f"is not a known parameter; there are: {there_are}"))
        elif name in seen and not known.get(name):
            faults.append((name, "is given twice"))
        elif "\0" in name + value:
            faults.append((name, "must not hold a NUL character"))
        seen.add(name)
        if len(faults) >= MAX_ERRORS:
            break
    if faults:
        raise RequestValidationError([{"type": "parameter", "loc": ("query", n), "msg": m} for n, m in faults])
    if any("\0" in value for value in request.path_params.values()):
        raise HTTPException(404)


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and not is_json(content_type):
        sent = _media_type(content_type) or "nothing"
        raise HTTPException(415, f"the body must be application/json, and its Content-Type says {sent}")


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says that the body is JSON."""
    sent = _media_type(content_type)
    return sent == "application/json" or (sent.startswith("application/") and sent.endswith("+json"))


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
