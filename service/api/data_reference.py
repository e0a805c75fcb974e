"""Tells a data set by reference, a JSON object, from an upload, which may be JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from service.api.http.validation_errors import with_suggestions
from service.api.strict_route import is_json
from service.spec.data_reference import DataReference

if TYPE_CHECKING:
    from starlette.types import Message

MAX_BYTES = 256 * 1024


def schema() -> dict[str, Any]:
    """The JSON schema of a reference, for the OpenAPI document, which has the schemas that it refers to."""
    found = DataReference.model_json_schema(ref_template="#/components/schemas/{model}")
    found.pop("$defs", None)
    return found


async def read(request: Request) -> tuple[DataReference | None, Request]:
    """(the reference that the body is, or None if it is a file; the request with its body unread).

    Raises RequestValidationError for one JSON object that is no reference.
    """
    if not is_json(request.headers.get("content-type", "")):
        return None, request
    messages: list[Message] = []
    size = 0
    while size <= MAX_BYTES:
        messages.append(await request.receive())
        size += len(messages[-1].get("body", b""))
        if not messages[-1].get("more_body"):
            return _parsed(b"".join(each.get("body", b"") for each in messages)), _replayed(request, messages)
    return None, _replayed(request, messages)


def _replayed(request: Request, messages: list[Message]) -> Request:
    async def receive() -> Message:
        return messages.pop(0) if messages else await request.receive()

    return Request(request.scope, receive)


def _parsed(content: bytes) -> DataReference | None:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return None  # JSON Lines, or no JSON: the reader of files says what is wrong
    return validated(parsed) if isinstance(parsed, dict) else None


def validated(parsed: dict[str, Any]) -> DataReference:
    """The reference; raises RequestValidationError."""
    try:
        return DataReference.model_validate(parsed)
    except ValidationError as error:
        errors = with_suggestions(error.errors(include_url=False), DataReference)
        found = [{**each, "loc": ("body", *each["loc"])} for each in errors]
        raise RequestValidationError(found, body=parsed) from None


def refused(reference: DataReference, field: str, message: str) -> RequestValidationError:
    """The error for a field of a reference that cannot be read."""
    body = reference.model_dump(mode="json", exclude_none=True)
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": message}], body=body)
