"""Numbers, intervals, conditions and values of a report as plain text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.reports.sections.estimate import Estimate
    from service.reports.sections.slices import SliceCondition

DIGITS = 3
NOTHING = "-"
MAX_TEXT = 60  # characters of a cell


def number(value: float | None, digits: int = DIGITS) -> str:
    """A number with so many significant digits; whole ones up to 15 digits are written out."""
    if value is None:
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        return grouped(f"{int(value):,}")
    if abs(value) >= 10**digits and abs(value) < 1e15:
        return grouped(f"{value:,.0f}")
    text = f"{value:.{digits}g}"
    return text if "e" in text or "." not in text else text.rstrip("0").rstrip(".")


def grouped(text: str) -> str:
    """Without a separator up to 9,999, because years have none."""
    return text.replace(",", "") if len(text.lstrip("-").split(".")[0]) <= 5 else text


def estimate(value: Estimate, digits: int = DIGITS) -> str:
    """A number with its interval: `0.31 (0.28 to 0.35)`."""
    return f"{number(value.value, digits)}{interval(value, digits)}"


def interval(value: Estimate, digits: int = DIGITS) -> str:
    """The interval alone, in parentheses after a space; empty if there is none."""
    if value.low is None or value.high is None:
        return ""
    return f" ({number(value.low, digits)} to {number(value.high, digits)})"


def condition(found: SliceCondition, times: Collection[str]) -> str:
    """`island = Biscoe`, `3 ≤ mass < 4`, `sex is missing`; numbers of the columns `times` are times."""

    def end(value: float) -> str:
        return time(value) if found.column in times else number(value, 4)

    if found.missing:
        return f"{found.column} is missing"
    if found.low is not None and found.high is not None:
        return f"{end(found.low)} ≤ {found.column} < {end(found.high)}"
    if found.low is not None:
        return f"{found.column} ≥ {end(found.low)}"
    if found.high is not None:
        return f"{found.column} < {end(found.high)}"
    return f"{found.column} = {cell(found.value, time=found.column in times)}"


def cell(value: bool | float | str | None, *, time: bool = False) -> str:
    """A value of the table; `time`: a number is a time."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
    return _time(value) if time else number(value, 5)


def time(seconds: float) -> str:
    """Seconds since 1970 as a date, with the time of day unless that is midnight (UTC)."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return number(seconds)
    return moment.strftime("%Y-%m-%d" if seconds % 86_400 == 0 else "%Y-%m-%d %H:%M")


_time = time  # `cell` has an argument of that name
