"""The parameters of points as columns of numbers, from which their importance is estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.spec.space import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from service.domain.importance import Scale

LOG_RATIO = 100.0
"""Positive numbers whose largest is so many times their smallest are compared by their logarithms."""
MAX_CHOICES = 50
"""Largest number of values without an order."""
LOG_KINDS = ("log", "log_int")


@dataclass(frozen=True)
class Column:
    """A parameter that can be compared."""

    name: str
    scale: Scale
    values: list[float]
    """By point: from 0 for the smallest value to 1 for the largest, or the number of the choice."""


def columns_of(
    points: Sequence[Mapping[str, Any]], names: Iterable[str], space: Mapping[str, Any]
) -> tuple[list[Column], dict[str, str]]:
    """(columns, reasons by name why others are left out) of the points.

    `points`: values by name. `space`: the sweep's, as JSON; its logarithmic ranges are compared by logarithms.
    """
    columns, left_out = list[Column](), dict[str, str]()
    for name in names:
        found = [point[name] for point in points if name in point]
        if len(found) < len(points):
            left_out[name] = f"only {len(found)} of {len(points)} points use it"
        elif len(distinct := dict.fromkeys(map(as_text, found))) == 1:
            left_out[name] = "has the same value in all points"
        elif all(map(_is_number, found)):
            columns.append(_numbers(name, found, is_log=any(kind in space.get(name, {}) for kind in LOG_KINDS)))
        elif len(distinct) > MAX_CHOICES:
            left_out[name] = f"has {len(distinct)} different values that are not numbers; at most {MAX_CHOICES}"
        else:
            places = {text: float(index) for index, text in enumerate(distinct)}
            columns.append(Column(name, "choice", [places[as_text(value)] for value in found]))
    return columns, left_out


def _numbers(name: str, values: Sequence[float], *, is_log: bool) -> Column:
    low, high = min(values), max(values)
    if low > 0 and (is_log or high / low >= LOG_RATIO):
        return Column(name, "log", scaled([math.log(value) for value in values]))
    return Column(name, "linear", scaled(values))


def scaled(values: Sequence[float]) -> list[float]:
    """The values between 0 for the smallest and 1 for the largest."""
    halves = [value / 2 for value in values]  # so that the difference of two is finite
    low, high = min(halves), max(halves)
    return [(half - low) / (high - low or 1.0) for half in halves]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
