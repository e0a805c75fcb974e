"""Errors as `application/problem+json` (RFC 9457): the only place that knows the HTTP status of an error."""

from __future__ import annotations

import json
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service import errors
from service.api.http.validation_errors import validation_errors
from service.spec.documented import Documented

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

MEDIA_TYPE = "application/problem+json"

STATUSES: dict[type[errors.ServiceError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.InvalidKey: HTTPStatus.UNAUTHORIZED,
    errors.UnknownKey: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.CrossSite: HTTPStatus.FORBIDDEN,
    errors.OpenBehindProxy: HTTPStatus.FORBIDDEN,
    errors.WrongHost: HTTPStatus.MISDIRECTED_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.QuotaExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidData: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ReadingLimit: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.SourceError: HTTPStatus.FAILED_DEPENDENCY,
    errors.QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyFailedKeys: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyStreams: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotInstalled: HTTPStatus.NOT_IMPLEMENTED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.SchemaMismatch: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageError: HTTPStatus.INSUFFICIENT_STORAGE,
}
HTTP_CODES: dict[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("bad_request", "The body is not as its Content-Type says."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "Not a method of this path; `Allow` lists those."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("unsupported_media_type", "The body's media type is not supported here."),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: (
        "requested_range_not_satisfiable",
        "The range is outside the file; `Content-Range` has its size.",
    ),
}
"""The code and meaning of errors that the HTTP framework or a route raises by their status."""
HEADERS: dict[type[errors.ServiceError], dict[str, str]] = {
    errors.Unauthorized: {"WWW-Authenticate": "Bearer"},
    errors.InvalidKey: {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    errors.UnknownKey: {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    errors.Forbidden: {"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
}


class FieldProblem(Documented):
    """One error in a request's body, query or headers."""

    pointer: str | None = None
    """JSON pointer (RFC 6901) into the body; absent where a parameter is wrong."""
    parameter: str | None = None
    """The query parameter or header that is wrong; absent where the body is."""
    message: str
    """What is wrong there."""


class Problem(Documented):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    """Always `about:blank`: `code` tells kinds of problems apart."""
    title: str
    """The HTTP status in words."""
    status: int
    """The HTTP status."""
    detail: str | None = None
    """Explanation of this error."""
    code: str
    """What went wrong, for a program: a stable name."""
    request_id: str
    """The id of the request, as in the server's log."""
    errors: list[FieldProblem] | None = None
    """The wrong places, at most 20."""


def respond(
    request: Request,
    status: int,
    code: str,
    detail: str | None,
    field_errors: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request.state.request_id,
        errors=field_errors or None,
    )
    # ASCII: a name from the request may hold a lone surrogate, which UTF-8 cannot encode.
    body = json.dumps(problem.model_dump(exclude_none=True))
    return Response(body, status, headers=headers, media_type=MEDIA_TYPE)


def from_service_error(request: Request, error: errors.ServiceError) -> Response:
    """The response to an error of the service."""
    found = [FieldProblem(pointer=each.pointer, message=each.message) for each in error.field_errors[:20]]
    status = STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    again = {} if error.retry_seconds is None else {"Retry-After": f"{error.retry_seconds}"}
    return respond(request, status, error.code, error.detail, found, {**HEADERS.get(type(error), {}), **again})


def install(app: FastAPI) -> None:
    """Make every error response of `app` a problem document."""
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(ClientDisconnect, _disconnected)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)
    return from_service_error(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [FieldProblem.model_validate(each) for each in validation_errors(error.errors(), error.body)]
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = first.parameter or _dotted(first.pointer or "") or "the body"
    in_body = any(each.pointer is not None for each in found)
    code = errors.InvalidSpec.code if in_body and _takes_spec(request) else errors.InvalidRequest.code
    return respond(request, 422, code, f"{errors.located(where, first.message)}{more}", found)


def _dotted(pointer: str) -> str:
    return pointer.lstrip("/").replace("/", ".").replace("~1", "/").replace("~0", "~")


def _takes_spec(request: Request) -> bool:
    path = request.url.path
    return path in ("/v1/jobs", "/v1/jobs/plan", "/v1/sweeps", "/v1/sweeps/plan") or path.endswith("/replay")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, errors.ServiceError):  # FastAPI wraps exceptions raised while reading the body
        return from_service_error(request, error.__cause__)
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    detail = error.detail
    if status == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path}"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
        detail = f"{request.method} is not possible here; there are: {headers['Allow']}"
    code = errors.NotFound.code if status == HTTPStatus.NOT_FOUND else HTTP_CODES.get(status, (status.name.lower(),))[0]
    return respond(request, status, code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of all routes with the best-matching path, the one with the fewest path parameters.

    Starlette lists only those of the first matching route.
    """
    methods = defaultdict[str, set[str]](set)
    for route in iter_route_contexts(request.app.routes):
        pattern: Any = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(request.url.path):
            methods[str(route.path)] |= route.methods or set()
    best = min(methods, key=lambda path: path.count("{"), default="")
    return ", ".join(sorted(methods[best]))


async def _disconnected(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # the client has disconnected: nobody reads it
