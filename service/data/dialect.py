"""How a CSV file is written: its separator and its column names, from its first records."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from math import isfinite
from pathlib import Path

from service.errors import InvalidData

MAX_COLUMNS = 10_000
MAX_LINE_BYTES = 2_000_000
MAX_NAME = 1_000
SAMPLE_RECORDS = 20
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Dialect:
    """How the records of a file are to be cut."""

    delimiter: str
    names: tuple[str, ...]
    header: bool  # whether the first record holds the names
    blank_lines: int  # before the first record


def detect(text: Path, null_values: Sequence[str]) -> Dialect:
    """The dialect of the UTF-8 file `text`.

    The separator is the one that cuts most of the first records into as many values as the first of them, at least
    two. The first record names the columns unless it holds a number and no column turns from text to numbers below.
    Raises InvalidData for names that are missing, repeated, too long or too many.
    """
    with text.open(encoding="utf-8-sig") as file:
        start = file.read(2 * MAX_LINE_BYTES)
    body = start.lstrip("\n")
    if not body.strip():
        raise InvalidData("the file holds nothing but blank lines")
    found = {delimiter: _first_records(body, delimiter) for delimiter in DELIMITERS}
    delimiter, records = max(found.items(), key=lambda item: _plausible(item[1]))
    if not records or (len(records[0]) == 1 and not all(found.values())):
        raise InvalidData("the first line opens a quote that is never closed, or goes on after a closing quote")
    first, second = records[0], (records[1] if len(records) > 1 else [])
    if len(first) > MAX_COLUMNS:
        raise InvalidData(f"the first line has {len(first):,} columns; at most {MAX_COLUMNS:,} are read")
    header = _is_header(first, second, null_values)
    names = tuple(first) if header else tuple(f"column{i + 1}" for i in range(len(first)))
    _check(names)
    return Dialect(delimiter, names, header, blank_lines=len(start) - len(body))


def _first_records(text: str, delimiter: str) -> list[list[str]]:
    """The first records that are not blank, up to where the text ends or breaks the rules of quoting."""
    csv.field_size_limit(2 * MAX_LINE_BYTES)
    records: list[list[str]] = []
    with suppress(csv.Error):
        for record in islice(
            filter(None, csv.reader(StringIO(text), delimiter=delimiter, strict=True)), SAMPLE_RECORDS
        ):
            records.append(record)
    return records


def _plausible(records: list[list[str]]) -> tuple[bool, int, int]:
    columns = len(records[0]) if records else 0
    return columns > 1, sum(len(record) == columns for record in records), columns


def _is_header(first: list[str], second: list[str], null_values: Sequence[str]) -> bool:
    return not any(map(_is_number, first)) or any(
        _is_number(value) and not _is_number(name) and name not in null_values
        for name, value in zip(first, second, strict=False)
    )


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _check(names: Sequence[str]) -> None:
    for number, name in enumerate(names, start=1):
        if not name.strip():
            hint = " (pandas: to_csv(index=False))" if number == 1 else ""
            raise InvalidData(f"column {number} has no name: name it in the first line, or remove it{hint}")
        if len(name) > MAX_NAME:
            raise InvalidData(f"the name of column {number} is longer than {MAX_NAME:,} characters")
    folded, times = Counter(name.lower() for name in names).most_common(1)[0]
    if times > 1:
        twice = [name for name in names if name.lower() == folded]
        same = f"{twice[0]!r} names {times} columns"
        what = same if twice[0] == twice[1] else f"{twice[0]!r} and {twice[1]!r} differ only in case"
        raise InvalidData(f"{what}; every column needs a name of its own")
