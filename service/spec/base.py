"""The base of every model of a spec: frozen, nothing unknown, no silent conversions."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from service.spec.capped_errors import MAX_ERRORS


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


# Numbers are taken as they are: "64" is not 64 and true is not 1; 64.0 is, as JSON makes no difference.
Int = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Float = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bool = Annotated[bool, Field(strict=True)]

# What numpy's generators and torch's take.
Seed = Annotated[Int, Field(ge=0, le=2**32 - 1)]

# Text that a person chose: one line, no control characters.
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

ColumnName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]


FEW = 100  # fields: more than any model has


class Strict(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        """Leave out all unknown fields but the first few: one is enough to refuse the rest, and each costs an error."""
        if not isinstance(value, dict) or len(value) <= FEW:  # nearly always: every read of a stored job comes by
            return value
        unknown = islice((name for name in value if name not in cls.model_fields), MAX_ERRORS)
        return {name: value[name] for name in (*(cls.model_fields.keys() & value.keys()), *unknown)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        _as_meant(handler.resolve_ref_schema(found))
        return found


class OpenEnum(StrEnum):
    """Names that are stored. One that this version does not know, for a newer one wrote it, is kept as it is."""

    @classmethod
    def _missing_(cls, value: object) -> OpenEnum | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown


def known(value: OpenEnum) -> OpenEnum:
    """`value`, which a client sent: it has to be a name that this version knows."""
    if value not in type(value).__members__:
        *names, last = (f"'{name.value}'" for name in type(value))
        raise PydanticCustomError("enum", "Input should be {expected}", {"expected": f"{', '.join(names)} or {last}"})
    return value


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _as_meant(schema: Any) -> None:
    """What pydantic writes otherwise: a bound behind a validator, as in `Int`, by its own name; and a union that is
    told apart by a field as `oneOf`, though more than one may fit where the field may be left out."""
    if isinstance(schema, dict):
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        for own in _BOUNDS.keys() & schema.keys():
            schema[_BOUNDS[own]] = schema.pop(own)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _as_meant(part)


def kind_or(default: str, field: str = "kind") -> Discriminator:
    """Tell a union's members apart by `field`, which may be left out where there is a usual one."""

    def kind(value: Any) -> str:
        return str(value.get(field, default) if isinstance(value, dict) else getattr(value, field, default))

    kind.__name__ = field  # pydantic's errors name the discriminator by it
    return Discriminator(kind)


class FrozenModel(BaseModel):
    """A frozen record; its field comments are the API's documentation."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
