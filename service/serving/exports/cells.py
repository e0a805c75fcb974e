"""Cells of raw rows: a value of a column as the number or category code that a standalone network takes.

Needs only Python. In a bundle this file is called cells.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from service.data.number_formats import parse_formatted

OTHER, MISSING = -1, -2  # codes of text values
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BOOLEANS = {"true": 1.0, "false": 0.0}


def with_numbers(null_values: Iterable[str]) -> set[Any]:
    """The null values, and the numbers that they stand for: -999 is missing where "-999" is."""
    nulls: set[Any] = set(null_values)
    for text in null_values:
        try:
            nulls.add(float(text))
        except ValueError:
            continue
    return nulls


def number(value: Any, feature: dict[str, Any], nulls: set[Any]) -> float:
    """A cell of a numeric column; text is parsed as in CSV. Raises ValueError with the column's name."""
    if _is_missing(value, nulls):
        return math.nan
    try:
        match feature["type"]:
            case "datetime":
                return _date(value, clock=has_clock(feature))
            case "boolean":
                return _boolean(value)
            case _:
                return _finite(value)
    except ValueError as error:
        raise ValueError(f"column {feature['column']!r}: {value!r} is no {feature['type']}") from error


def _is_missing(value: Any, nulls: set[Any]) -> bool:
    return value is None or value in nulls or (isinstance(value, float) and math.isnan(value))


def _finite(value: Any) -> float:
    formatted = parse_formatted(value) if isinstance(value, str) else None
    found = value if formatted is None else formatted
    found = float(found) if isinstance(found, str) else found
    return float(found) if abs(found) <= sys.float_info.max else math.nan


def _boolean(value: Any) -> float:
    found = BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value
    if float(found) not in (0.0, 1.0):
        raise ValueError
    return float(found)


def _date(value: Any, *, clock: bool) -> float:
    if not isinstance(value, str | date | time):
        raise ValueError
    return seconds(str(value), clock=clock)


def has_clock(feature: dict[str, Any]) -> bool:
    """Whether a date column may contain times of day alone, which are read as of the first day of 1970."""
    return bool(0 <= feature["origin"] < 86_400)


def seconds(text: str, *, clock: bool) -> float:
    """Seconds since 1970 of an ISO 8601 date, or of a time of day where `clock`; UTC if it has no time zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        if not clock or ":" not in text:
            raise
        at = datetime.combine(EPOCH, time.fromisoformat(text))
    return since_1970(at)


def since_1970(at: datetime) -> float:
    """Seconds since 1970; UTC if it has no time zone."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH).total_seconds()


def code(value: Any, feature: dict[str, Any], places: dict[str, int], nulls: set[Any]) -> int:
    """The category code of a cell of a text column; `places`: the code of each category.

    Raises ValueError with the column's name.
    """
    if isinstance(value, str) and value in places:
        return places[value]
    if _is_missing(value, nulls):
        return MISSING
    if not isinstance(value, str):
        raise ValueError(f"column {feature['column']!r}: {value!r} is no text")
    return OTHER
