"""The base of every model of a spec: frozen, nothing unknown, no silent conversions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints


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


class Strict(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def kind_or(default: str, field: str = "kind") -> Discriminator:
    """Tell a union's members apart by `field`, which may be left out where there is a usual one."""

    def kind(value: Any) -> str:
        return str(value.get(field, default) if isinstance(value, dict) else getattr(value, field, default))

    kind.__name__ = field  # pydantic's errors name the discriminator by it
    return Discriminator(kind)
