"""The search space of a sweep: which fields of the spec vary, over which values, under which conditions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from service.spec.base import Change, DottedName, Float, Int, Strict, errors_at
from service.spec.capped_errors import CapErrors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_NAMES = 50
DIGITS = 6
"""Significant digits of drawn numbers: short to read, and the same on every machine."""
KINDS = ("uniform", "log", "int", "log_int", "choice")

Number = Annotated[Float, Field(ge=-1e100, le=1e100)]
Whole = Annotated[Int, Field(ge=-(2**53), le=2**53)]


def _ascending(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"should be two bounds, the smaller one first: {bounds[0]} is not below {bounds[1]}")
    return bounds


def _positive(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    if bounds[0] <= 0:
        raise ValueError("should have bounds above 0: it is uniform in the logarithm")
    return bounds


Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]
LogRange = Annotated[tuple[Number, Number], AfterValidator(_ascending), AfterValidator(_positive)]
IntRange = Annotated[tuple[Whole, Whole], AfterValidator(_ascending)]
LogIntRange = Annotated[tuple[Whole, Whole], AfterValidator(_ascending), AfterValidator(_positive)]


def _distinct(values: list[Any]) -> list[Any]:
    seen = set[str]()
    for index, value in enumerate(values):
        text = as_text(value)
        if text in seen:
            raise errors_at("choice", [((index,), "is a duplicate of an earlier value", value)])
        seen.add(text)
    return values


class _Parameter(Strict):
    when: (
        Annotated[
            dict[DottedName, Annotated[list[Change], Field(min_length=1, max_length=1_000), CapErrors()]],
            Field(min_length=1, max_length=MAX_NAMES),
            CapErrors(),
        ]
        | None
    ) = None
    """Conditions: names of the space with `choice`, and those of their values with which this one is used, e.g.
    `{"optimizer.kind": ["sgd"]}`; all must hold. Otherwise the field has the value of `base`."""


class UniformParameter(_Parameter):
    """A number, uniform between two bounds."""

    uniform: Range
    """Lower and upper bound."""

    def at(self, share: float) -> float:
        """The value at `share`, from 0 to 1, of the distribution."""
        low, high = self.uniform
        return _rounded(low + share * (high - low), self.uniform)


class LogParameter(_Parameter):
    """A number, uniform in its logarithm between two bounds above 0."""

    log: LogRange
    """Lower and upper bound, above 0."""

    def at(self, share: float) -> float:
        """The value at `share`, from 0 to 1, of the distribution."""
        low, high = map(math.log, self.log)
        return _rounded(math.exp(low + share * (high - low)), self.log)


class IntParameter(_Parameter):
    """A whole number, uniform between two bounds, which belong to it."""

    int: IntRange
    """Smallest and largest value."""

    def at(self, share: float) -> Any:
        """The value at `share`, from 0 to 1, of the distribution."""
        low, high = self.int
        return min(low + math.floor(share * (high - low + 1)), high)


class LogIntParameter(_Parameter):
    """A whole number, uniform in its logarithm between two bounds above 0, which belong to it."""

    log_int: LogIntRange
    """Smallest and largest value, above 0."""

    def at(self, share: float) -> Any:
        """The value at `share`, from 0 to 1, of the distribution."""
        low, high = self.log_int
        first, last = math.log(low - 0.5), math.log(high + 0.5)
        return min(max(round(math.exp(first + share * (last - first))), low), high)


class ChoiceParameter(_Parameter):
    """One of a list of values of any kind."""

    choice: Annotated[list[Change], Field(min_length=1, max_length=1_000), CapErrors(), AfterValidator(_distinct)]
    """The values, all equally likely."""

    def at(self, share: float) -> Any:
        """The value at `share`, from 0 to 1, of the list."""
        return self.choice[min(math.floor(share * len(self.choice)), len(self.choice) - 1)]


def _kind(value: Any) -> str | None:
    """The distribution's name, which is the tag of its model."""
    found = (kind for kind in KINDS if (kind in value if isinstance(value, dict) else hasattr(value, kind)))
    return next(found, None)


Parameter = Annotated[
    Annotated[UniformParameter, Tag("uniform")]
    | Annotated[LogParameter, Tag("log")]
    | Annotated[IntParameter, Tag("int")]
    | Annotated[LogIntParameter, Tag("log_int")]
    | Annotated[ChoiceParameter, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="parameter",
        custom_error_message=f'should be an object with one of {", ".join(KINDS)}, e.g. {{"log": [1e-4, 0.1]}}',
    ),
]


def _check_conditions(space: dict[str, Any]) -> dict[str, Any]:
    """Conditions name choices of the space and their values, and none depends on itself."""
    found = list[tuple[tuple[str | int, ...], str | None, Any]]()
    for name, parameter in space.items():
        for other, values in (parameter.when or {}).items():
            place = (name, "when", other)
            if other not in space:
                found.append((place, "is not a name of the space", values))
            elif not isinstance(space[other], ChoiceParameter):
                found.append((place, "should have `choice` in the space: conditions are on listed values", values))
            else:
                known = set(map(as_text, space[other].choice))
                wrong = (index for index, value in enumerate(values) if as_text(value) not in known)
                found += [((*place, index), f"is not a choice of {other}", values[index]) for index in wrong]
    if found:
        raise errors_at("space", found)
    ordered = set(in_order(space))
    if circular := [name for name in space if name not in ordered]:
        message = "depends on itself: conditions must not be circular"
        raise errors_at("space", [((name, "when"), message, space[name].when) for name in circular])
    return space


Space = Annotated[
    dict[DottedName, Parameter],
    Field(min_length=1, max_length=MAX_NAMES),
    CapErrors(),
    AfterValidator(_check_conditions),
]


def in_order(space: Mapping[str, Parameter]) -> list[str]:
    """The names, each after those on which its conditions depend; without names of circular conditions."""
    ordered: dict[str, None] = {}
    while ready := [
        name for name, each in space.items() if name not in ordered and (each.when or {}).keys() <= ordered.keys()
    ]:
        ordered |= dict.fromkeys(ready)
    return list(ordered)


def used(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Whether the parameter's conditions hold for the values of the names used so far."""
    return all(
        name in values and as_text(values[name]) in map(as_text, allowed)
        for name, allowed in (parameter.when or {}).items()
    )


def bounds_of(space: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """Points that together have both bounds of each range and each choice, to be validated before any trial is drawn.

    Each has a value for every name that is in use with it, the first ones but where a condition needs another.
    """
    seen = set[str]()
    for name, parameter in space.items():
        values = parameter.choice if isinstance(parameter, ChoiceParameter) else (parameter.at(0.0), parameter.at(1.0))
        for value in values:
            fixed = {**_needed(space, name), name: value}
            point = dict[str, Any]()
            for each in in_order(space):
                if used(space[each], point):
                    point[each] = fixed.get(each, space[each].at(0.0))
            if (text := as_text(point)) not in seen:
                seen.add(text)
                yield {each: point[each] for each in space if each in point}


def _needed(space: Mapping[str, Parameter], name: str) -> dict[str, Any]:
    """Values of other names with which the conditions of `name` hold."""
    found = dict[str, Any]()
    for other, values in (space[name].when or {}).items():
        found |= {**_needed(space, other), other: values[0]}
    return found


def as_text(value: Any) -> str:
    """A value as JSON: 1, 1.0 and true differ as JSON values do."""
    return json.dumps(value, sort_keys=True)


def rounded(parameter: Parameter, value: Any) -> Any:
    """A number of the parameter's range, with so few digits as drawn ones have."""
    if isinstance(parameter, UniformParameter):
        return _rounded(value, parameter.uniform)
    return _rounded(value, parameter.log) if isinstance(parameter, LogParameter) else value


def _rounded(value: float, bounds: tuple[float, float]) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), bounds[0]), bounds[1])
