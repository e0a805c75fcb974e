"""Base models and types of the spec: immutable, no unknown fields, no implicit type conversions."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from service.spec.capped_errors import MAX_ERRORS
from service.spec.documented import Documented


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


# Strict numbers: "64" and true are refused; 64.0 is an integer, because JSON does not distinguish them.
Int = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bool = Annotated[bool, Field(strict=True)]

# The range of seeds of NumPy's and torch's generators.
Seed = Annotated[Int, Field(ge=0, le=2**32 - 1)]

# A name: one line, no control characters.
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

ColumnName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]


MAX_DEPTH = 10  # deeper than the nesting of any spec


def _shallow(value: Any) -> Any:
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = [part for part in level if isinstance(part, dict | list)]
        level = [child for part in parts for child in (part.values() if isinstance(part, dict) else part)]
    if level:
        raise ValueError("is nested too deeply")
    return value


# The path of a field in a spec, and a new value of it: any JSON.
DottedName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
Change = Annotated[Any, AfterValidator(_shallow)]


def errors_at(title: str, found: Iterable[tuple[tuple[str | int, ...], str | None, Any]]) -> ValidationError:
    """A validator's errors below its field, given as (location, message, value); to be raised.

    Without a message, a field is missing there.
    """
    errors = [
        InitErrorDetails(
            type="missing" if text is None else PydanticCustomError("value_error", "{message}", {"message": text}),
            loc=place,
            input=value,
        )
        for place, text, value in found
    ]
    return ValidationError.from_exception_data(title, errors)


MAX_FIELDS = 100  # more than any model has


class Strict(Documented):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        """Drop unknown fields except the first few: each of them creates an error, and one is enough to refuse."""
        if not isinstance(value, dict) or len(value) <= MAX_FIELDS:  # the fast path
            return value
        unknown = islice((name for name in value if name not in cls.model_fields), MAX_ERRORS)
        return {name: value[name] for name in (*(cls.model_fields.keys() & value.keys()), *unknown)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = super().__get_pydantic_json_schema__(schema, handler)
        _corrected(handler.resolve_ref_schema(found))
        return found


class OpenEnum(StrEnum):
    """An enum of stored names. An unknown name, written by a newer version, is kept as it is."""

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown


def known(value: OpenEnum) -> OpenEnum:
    """Validate a client's value: it must be a name that this version knows."""
    if value not in type(value).__members__:
        *names, last = (f"'{name.value}'" for name in type(value))
        raise PydanticCustomError("enum", "Input should be {expected}", {"expected": f"{', '.join(names)} or {last}"})
    return value


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _corrected(schema: Any) -> None:
    """Correct pydantic's JSON schema: bounds after a validator, as in `Int`, get their JSON schema names; a
    discriminated union is `anyOf`, because several members may match where the discriminator is optional."""
    if isinstance(schema, dict):
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        for own in _BOUNDS.keys() & schema.keys():
            schema[_BOUNDS[own]] = schema.pop(own)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _corrected(part)


def kind_or(default: str, field: str = "kind") -> Discriminator:
    """A discriminator of a union by `field`, with a default value if the field is missing."""

    def kind(value: Any) -> str:
        return str(value.get(field, default) if isinstance(value, dict) else getattr(value, field, default))

    kind.__name__ = field  # pydantic uses it as the discriminator's name in errors
    return Discriminator(kind)


class FrozenModel(Documented):
    """An immutable record; the docstrings of its fields are the API's documentation."""

    model_config = ConfigDict(frozen=True)
