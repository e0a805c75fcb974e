"""Cells of raw rows: a value of a column as the number or category code that a standalone network takes.

Needs only Python. In a bundle this file is called cells.py.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time
from typing import Any

OTHER, MISSING = -1, -2  # codes of text values
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMULA = re.compile(r"'+[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


def number(value: Any, feature: dict[str, Any], nulls: set[str]) -> float:
    """A cell of a numeric column; text is parsed as in CSV. Raises ValueError with the column's name."""
    if value is None or (isinstance(value, str) and value in nulls):
        return math.nan
    try:
        if feature["type"] == "datetime":
            return seconds(str(value))
        if feature["type"] == "boolean" and isinstance(value, str):
            return float({"true": 1, "false": 0}[value.lower()] if value.lower() in ("true", "false") else value)
        return float(value)
    except ValueError as error:
        raise ValueError(f"column {feature['column']!r}: {value!r} is no {feature['type']}") from error


def seconds(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 date or a time of day; UTC if it has no time zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.combine(EPOCH, time.fromisoformat(text))
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH).total_seconds()


def code(value: Any, places: dict[str, int], nulls: set[str]) -> int:
    """The category code of a cell of a text column; `places`: the code of each category."""
    return places.get(value, MISSING if value is None or value in nulls else OTHER)


def original(name: str) -> str:
    """A column's name without the apostrophe that protects it from formula injection in a CSV file."""
    if not FORMULA.match(name):
        return name
    try:
        float(name.lstrip("'"))
    except ValueError:
        return name.removeprefix("'")
    return name
