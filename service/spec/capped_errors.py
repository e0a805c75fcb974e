"""Caps the number of validation errors: lists and objects of a request are validated until about 20 errors."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import PydanticKnownError, core_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import CoreSchema, InitErrorDetails

MAX_ERRORS = 20
"""Errors of a list or an object after which validation stops."""
CHUNK = 64  # entries of an object that are validated at a time: each may have several errors

T = TypeVar("T")


class CapErrors:
    """Annotation for a list, tuple or dict, after its bounds: `Annotated[list[T], Field(...), CapErrors()]`.

    pydantic creates an error for each wrong item, and one for each member of a union: 1.8 MB of wrong cells took 39 s
    and 3.9 GB. This stops after `MAX_ERRORS` and the errors of one more item.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The same schema, wrapped by one of the validators below."""
        schema = cast("dict[str, Any]", handler(source))
        most = schema.get("max_length")
        if schema["type"] in ("list", "tuple"):
            return core_schema.no_info_wrap_validator_function(
                lambda value, validate: _list(value, validate, most), cast("CoreSchema", {**schema, "fail_fast": True})
            )
        assert schema["type"] == "dict", f"a list, tuple or dict, not {schema['type']}"
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: _dict(value, validate, most), cast("CoreSchema", schema)
        )


def _list(value: Any, validate: Callable[[Any], T], most: int | None) -> T:
    """`validate` fails at the first wrong item; repeat after it until there are enough errors."""
    if not isinstance(value, list):
        return validate(value)
    _check_length("List", value, most)
    found, start = list[dict[str, Any]](), 0
    while True:
        try:
            valid = validate(value[start:] if start else value)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            if not errors[0]["loc"]:  # an error of the list itself
                if not start:
                    raise
                break  # the remainder of the list may be too short
            index = start + cast("int", errors[0]["loc"][0])
            found += [{**each, "loc": (index, *each["loc"][1:])} for each in errors]
            start = index + 1
        else:
            if not found:
                return valid
            break
        if len(found) >= MAX_ERRORS or start >= len(value):
            break
    raise _validation_error("list", found)


def _dict(value: Any, validate: Callable[[Any], dict[Any, Any]], most: int | None) -> dict[Any, Any]:
    """`validate` checks every entry: validate a few at a time."""
    if not isinstance(value, dict):
        return validate(value)
    _check_length("Dictionary", value, most)
    if len(value) <= CHUNK:
        return validate(value)
    valid, found, entries = dict[Any, Any](), list[dict[str, Any]](), iter(value.items())
    while len(found) < MAX_ERRORS and (chunk := dict(islice(entries, CHUNK))):
        try:
            valid.update(validate(chunk))
        except ValidationError as error:
            found += cast("list[dict[str, Any]]", error.errors(include_url=False))
    if found:
        raise _validation_error("dict", found)
    return valid


def _check_length(kind: str, value: list[Any] | dict[Any, Any], most: int | None) -> None:
    if most is not None and len(value) > most:
        details = {"field_type": kind, "max_length": most, "actual_length": len(value)}
        raise PydanticKnownError("too_long", details)


def _validation_error(title: str, found: list[dict[str, Any]]) -> ValidationError:
    kept = [{name: each[name] for name in ("type", "loc", "input", "ctx") if name in each} for each in found]
    return ValidationError.from_exception_data(title, cast("list[InitErrorDetails]", kept))
