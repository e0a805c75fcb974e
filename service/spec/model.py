"""Requests about published models: a new version, a move of an alias."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.spec.base import Float, Int, Strict
from service.spec.capped_errors import CapErrors

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A DNS label: what models and aliases are called, so that an address needs no escapes."""
ADDRESS = rf"({LABEL})(?:@({LABEL})|:([1-9][0-9]{{0,8}}))?"
"""A model in the address of a prediction: `NAME`, `NAME@ALIAS` or `NAME:VERSION`; none of it needs escapes."""
MAX_MEMBERS = 200
MAX_VERSION = 2**31 - 1


def check_label(text: str) -> str:
    """The text; raises ValueError unless it is a DNS label."""
    if re.fullmatch(LABEL, text) is None:
        message = "should be 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"
        raise ValueError(message)
    return text


Label = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(check_label),
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$"}),
]
VersionNumber = Annotated[Int, Field(ge=1, le=MAX_VERSION)]
Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100, pattern=r"^[a-z]+_[0-9a-z]+$")]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2_000, pattern=r"^[^\x00]*$")]

Selection = Literal["best", "greedy"]


class WeightedJob(Strict):
    """A member of a version: the best epoch of a job."""

    job: Id
    """The job's id."""
    weight: Annotated[Float, Field(gt=0.0, le=1e6)] = 1.0
    """Its weight in the average; weights are divided by their sum."""


class VersionSource(Strict):
    """What a version is made of: exactly one of `job`, `sweep` and `members`."""

    job: Id | None = None
    """The id of a job: its best epoch."""
    sweep: Id | None = None
    """The id of a sweep, from which `select` takes jobs."""
    select: Selection | None = None
    """With `sweep`. `best`, the default: the jobs of the sweep's best point, with equal weights: one job, or one of
    each seed and fold. `greedy`: ensemble selection over all points by their predictions of held-out rows (Caruana et
    al., 2004)."""
    members: Annotated[list[WeightedJob], Field(min_length=1, max_length=MAX_MEMBERS), CapErrors()] | None = None
    """Jobs with their weights, each once."""

    @field_validator("members")
    @classmethod
    def _each_once(cls, members: list[WeightedJob] | None) -> list[WeightedJob] | None:
        jobs = [member.job for member in members or ()]
        twice = next((job for place, job in enumerate(jobs) if job in jobs[:place]), None)
        if twice is not None:
            raise ValueError(f"the job {twice!r} is named twice; give it one weight")
        return members

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and sum(value.get(name) is not None for name in ("job", "sweep", "members")) != 1:
            raise PydanticCustomError("source", "give exactly one of `job`, `sweep` and `members`")
        return value

    @field_validator("select")
    @classmethod
    def _of_a_sweep(cls, select: Selection | None, known: ValidationInfo) -> Selection | None:
        if select is not None and "sweep" in known.data and known.data["sweep"] is None:
            raise ValueError("needs `sweep`")
        return select


class NewVersion(Strict):
    """A new version of a model; the first version creates the model."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    name: Label
    """The model's name: lower-case letters, digits and hyphens, at most 63 characters."""
    source: Annotated[VersionSource, Field(alias="from")]
    """The job, the sweep or the weighted jobs that the version is made of."""
    description: Text | None = None
    """What is special about this version, for people."""
    alias: Label | None = None
    """An alias to move to the new version in the same transaction; it is created if it does not exist."""


class AliasMove(Strict):
    """Where an alias shall point."""

    version: VersionNumber
    """The version."""
    expected: VersionNumber | None = None
    """Move only if the alias points to this version now, otherwise 409: nobody else's move is overwritten. An alias
    that points to `version` already stays, so that a move can be repeated. Null: whatever it points to."""
