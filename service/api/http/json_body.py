"""Strict parsing and validation of JSON bodies; large ones in a thread, off the event loop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from anyio import to_thread
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from service.api.http.validation_errors import with_suggestions
from service.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from fastapi._compat import ModelField
    from starlette.types import Receive, Scope

MAX_JSON_BYTES = 2 * 1024**2
# Lists and objects: ten times as many as the largest valid request has. Parsing half a million of them holds the GIL
# for a second.
MAX_CONTAINERS = 100_000
LARGE_BYTES = 32 * 1024  # parsing a larger body takes longer than starting a thread


class JsonBody:
    """Parses and validates the body of a path operation."""

    def __init__(self, field: ModelField) -> None:
        self._annotation: Any = field.field_info.annotation
        self._model: TypeAdapter[Any] = TypeAdapter(cast("Any", self._annotation))

    async def read(self, content: bytes, parse_slots: CapacityLimiter) -> Any:
        """The validated model; raises InvalidRequest if `content` is not JSON, RequestValidationError, TooLarge.

        `parse_slots`: limits how many large bodies are parsed at a time.
        """
        if len(content) < LARGE_BYTES:
            return self._read(content)
        return await to_thread.run_sync(self._read, content, limiter=parse_slots)

    def _read(self, content: bytes) -> Any:
        parsed = _parse(content)
        try:
            return self._model.validate_python(parsed)
        except ValidationError as error:
            errors = with_suggestions(error.errors(include_url=False), self._annotation)
            found = [{**each, "loc": ("body", *each["loc"])} for each in errors]
            raise RequestValidationError(found, body=parsed) from None


class ParsedRequest(Request):
    """A request with a body already parsed and validated: FastAPI accepts instances of the model as they are."""

    def __init__(self, scope: Scope, receive: Receive, content: bytes, value: Any) -> None:
        """`receive`: for messages after the body, which are the client's disconnect."""
        super().__init__(scope, receive)
        self._body, self._value = content, value

    async def json(self) -> Any:
        """The model."""
        return self._value


def _parse(content: bytes) -> Any:
    """Parse strict JSON, without NaN and duplicate names; raises InvalidRequest, TooLarge."""
    if content.count(b"[") + content.count(b"{") > MAX_CONTAINERS:
        raise TooLarge(f"the body holds more than {MAX_CONTAINERS:,} lists and objects; upload a data set instead")
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"the body is not JSON {where}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error
    except ValueError as error:
        raise InvalidRequest("the body holds a number of too many digits") from error


def _refuse_constant(name: str) -> Any:
    raise InvalidRequest(f"the body is not JSON: {name} is no number; send null for a missing value")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise InvalidRequest(f"the body names {name!r} twice in one object")
            seen.add(name)
    return values
