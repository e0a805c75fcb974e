"""The columns of a CSV file of rows to predict, read as the service reads them, or refused with line and column.

Needs only Python. In a bundle this file is called csv_columns.py.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from service.data.formats.csv_dialect import AskedDialect, Dialect, cut, detect
from service.data.formats.encoding import to_utf8
from service.data.number_formats import are_unambiguous, parse_amount
from service.errors import InvalidData
from service.serving.exports.cells import has_clock, seconds, since_1970

TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
"""What may follow a date in the data set's format."""
BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "0"), 0.0),
}
NEEDED = {"boolean": "true or false", "datetime": "a date as in the data set, or as 2024-05-01T10:30:00Z,"}

Texts = Sequence[str | None]
"""The values of a column; None if missing."""


@dataclass(frozen=True)
class _File:
    """The records of a file, as text."""

    dialect: Dialect
    lines: list[int]  # where each record begins
    records: list[list[str]]


def read_columns(path: str | Path, description: dict[str, Any]) -> tuple[int, dict[str, list[Any]]]:
    """(rows, values by column): numbers, NaN if missing, dates as seconds since 1970; texts, None if missing.

    `description`: the content of model.json, whose `features` are found by name; other columns are ignored. Raises
    InvalidData for an absent column, for the first value that does not fit, and for what is no CSV file.
    """
    features = description["features"]
    nulls = set(description["null_values"])
    categories = {text for feature in features for text in feature["categories"] or ()}
    # A category of one column may be a null value in another: those are resolved per column.
    file = _read(Path(path), sorted(nulls - categories))
    places = {name: place for place, name in enumerate(file.dialect.names)}
    absent = [feature["column"] for feature in features if feature["column"] not in places]
    if absent:
        names = ", ".join(map(repr, absent[:5])) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        raise InvalidData(f"the file has no column{'s' if len(absent) > 1 else ''} {names}, which the model needs")
    columns: dict[str, list[Any]] = {}
    for feature in features:
        missing = nulls - set(feature["categories"] or ())
        raw = [record[places[feature["column"]]] for record in file.records]
        texts = [None if text in missing else text for text in raw]
        columns[feature["column"]] = _typed(texts, feature, file, description.get("date_format"))
    return len(file.records), columns


def _read(path: Path, null_values: list[str]) -> _File:
    with tempfile.TemporaryDirectory() as work:
        text = to_utf8(path, Path(work)).path
        dialect = detect(text, null_values, AskedDialect())
        with text.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(dialect.skipped_lines):
                next(file)
            try:
                return _records(file, dialect)
            except csv.Error as error:
                raise InvalidData(f"the file is no valid CSV: {error}") from None


def _records(file: Iterable[str], dialect: Dialect) -> _File:
    lines, records, line = [], [], dialect.skipped_lines + 1
    source = _Source(file)
    reader = cut(source, dialect.delimiter, dialect.quote, strict=True)
    width = len(dialect.names)
    for record in reader:
        begins, line, text = line, dialect.skipped_lines + reader.line_num + 1, source.taken()
        if not record and width > 1:
            continue
        values = record or [""]
        if len(values) < width or any(values[width:]):
            raise InvalidData(f"line {begins} has {len(values):,} values where {width:,} columns are named")
        _refuse_stray_quotes(values, text, dialect.quote, begins)
        lines.append(begins)
        records.append(values)
    first = 1 if dialect.header else 0
    if not records[first:]:
        raise InvalidData("the file has a line of column names but no rows")
    return _File(dialect, lines[first:], records[first:])


class _Source:
    """The lines of a file, which keeps those that the present record has taken."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file, self._taken = iter(file), ""

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self._taken += line
            yield line

    def taken(self) -> str:
        """The text taken since the last call."""
        text, self._taken = self._taken, ""
        return text


def _refuse_stray_quotes(values: Sequence[str], text: str, quote: str, line: int) -> None:
    """Raise InvalidData for a quote in a value that is not enclosed in quotes: readers of CSV differ about it."""
    for value in values:
        if quote in value and quote + value.replace(quote, 2 * quote) + quote not in text:
            raise InvalidData(f"line {line}: a quote within the value {value[:60]!r}, which is not enclosed in quotes")


def _typed(texts: Texts, feature: dict[str, Any], file: _File, date_format: str | None) -> list[Any]:
    """The values of a column, all read in one way: the first that fits them all."""
    if feature["type"] == "text":
        return list(texts)
    ways = list(_ways(texts, feature, file.dialect.delimiter, date_format))
    best = max(ways, key=lambda way: sum(value is not None for value in way))
    for line, text, value in zip(file.lines, texts, best, strict=True):
        if value is None:
            needed = NEEDED.get(feature["type"], "a number")
            raise InvalidData(f"line {line}, column {feature['column']!r}: {needed} is needed, not {text!r:.60}")
    return best


def _ways(texts: Texts, feature: dict[str, Any], delimiter: str, date_format: str | None) -> Iterable[list[Any]]:
    """The values, read in each way; None for those that do not fit."""
    match feature["type"]:
        case "boolean":
            yield _each(lambda text: BOOLEANS.get(text.lower()), texts)
        case "datetime":
            if date_format is not None:
                yield _each(lambda text: _formatted_date(text, date_format), texts)
            yield _each(lambda text: _iso_date(text, clock=has_clock(feature)), texts)
        case _:
            yield _each(_number, texts)
            if delimiter != ",":
                yield _each(lambda text: None if "." in text else _number(text.replace(",", ".")), texts)
            if are_unambiguous(text for text in texts if text is not None):
                yield _each(parse_amount, texts)


def _each(read: Callable[[str], float | None], texts: Texts) -> list[float | None]:
    return [math.nan if text is None else read(text) for text in texts]


def _number(text: str) -> float | None:
    try:
        return float(text) if text.isascii() else None
    except ValueError:
        return None


def _iso_date(text: str, *, clock: bool) -> float | None:
    try:
        return seconds(text, clock=clock)
    except ValueError:
        return None


def _formatted_date(text: str, date_format: str) -> float | None:
    for time in TIMES:
        try:
            return since_1970(datetime.strptime(text, date_format + time))  # noqa: DTZ007
        except ValueError:
            continue
    return None
