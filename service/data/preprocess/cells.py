"""Validation of single values of rows to predict: a JSON value -> the value in a table's column."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time
from math import nan
from typing import TYPE_CHECKING

from service.data.number_formats import parse_formatted
from service.spec.table import ColumnType

if TYPE_CHECKING:
    from service.data.preprocess.features import FittedFeature
    from service.spec.table import Value

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cell(value: Value, feature: FittedFeature) -> str | float:
    """A text, or a number: NaN for one that is not finite, seconds since 1970 for a date; formatted numbers such as
    "$1,234" are parsed as in files.

    Raises ValueError saying what is needed instead.
    """
    if feature.categories is not None:
        if not isinstance(value, str):
            raise ValueError(f"a text is needed, not {value}")
        return value
    if feature.type is ColumnType.datetime:
        return _seconds(value, clock=feature.clock)
    if feature.type is ColumnType.boolean and (isinstance(value, str) or value not in (0, 1)):
        raise ValueError(f"true or false is needed, not {str(value)[:60]!r}")
    if isinstance(value, str):
        number = parse_formatted(value)
        if number is None:
            raise ValueError(f"a number is needed, not the text {value[:60]!r}")
        value = number
    return float(value) if abs(value) <= sys.float_info.max else nan


def _seconds(value: Value, *, clock: bool) -> float:
    """Seconds since 1970 of an RFC 3339 or ISO 8601 text, UTC by default. `clock`: times of day are allowed."""
    try:
        if not isinstance(value, str):
            raise ValueError
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            if not clock:
                raise
            at = datetime.combine(EPOCH, time.fromisoformat(value))
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH).total_seconds()
    except ValueError:
        example = "10:30:00" if clock else "2024-05-01T10:30:00Z"
        raise ValueError(f"a date such as {example} is needed, not {str(value)[:60]!r}") from None
