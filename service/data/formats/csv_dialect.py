"""How a CSV file is written: its delimiter, quotes and column names, from its first records."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice, product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from service.data.csv_injection import original
from service.data.staging import MAX_LINE_BYTES, check_names
from service.errors import InvalidData
from service.spec.read_options import ReadOptions

if TYPE_CHECKING:
    import _csv

SAMPLE_RECORDS = 20
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Dialect:
    """How the records of a file are to be cut."""

    delimiter: str
    quote: str  # empty: values are never quoted
    names: tuple[str, ...]
    header: bool  # whether the first record holds the names
    blank_lines: int  # before the first record


def detect(text: Path, null_values: Sequence[str], options: ReadOptions) -> Dialect:
    """The dialect of the UTF-8 file `text`, where `options` do not tell it.

    The delimiter is the one that cuts most of the first records into as many values as the first of them, at least
    two. Single quotes are quotes where they stand around values and no double quote is seen. The first record names
    the columns unless it holds a number and no column turns from text to numbers below; names that `harmless` has
    changed are what they were before. Raises InvalidData for names that are missing, repeated, too long or too many,
    and for options that cannot be.
    """
    if options.delimiter is not None and options.delimiter == options.quote:
        raise InvalidData(f"delimiter and quote are both {options.delimiter!r}: they must differ")
    with text.open(encoding="utf-8-sig") as file:
        start = file.read(2 * MAX_LINE_BYTES)
    body = start.lstrip("\n")
    if not body.strip():
        raise InvalidData("the file holds nothing but blank lines")
    delimiters = DELIMITERS if options.delimiter is None else (options.delimiter,)
    quotes = _quotes(body) if options.quote is None else (options.quote,)
    found = {way: _first_records(body, *way) for way in product(delimiters, quotes)}
    (delimiter, quote), records = max(found.items(), key=lambda item: _plausible(item[1]))
    if not records or (len(records[0]) == 1 and not all(found.values())):
        raise InvalidData("the first line opens a quote that is never closed, or goes on after a closing quote")
    first, second = records[0], (records[1] if len(records) > 1 else [])
    header = _is_header(first, second, null_values, options.decimal) if options.header is None else options.header
    names = tuple(map(original, first)) if header else tuple(f"column{i + 1}" for i in range(len(first)))
    check_names(names, "the first line")
    return Dialect(delimiter, quote, names, header, blank_lines=len(start) - len(body))


def _quotes(text: str) -> tuple[str, ...]:
    wrapped = '"' not in text and re.search(r"(^|[,;\t|])'[^'\n]*'([,;\t|]|$)", text, re.MULTILINE)
    return ('"', "'") if wrapped else ('"',)


def _first_records(text: str, delimiter: str, quote: str) -> list[list[str]]:
    """The first records that are not blank, up to where the text ends or breaks the rules of quoting."""
    csv.field_size_limit(2 * MAX_LINE_BYTES)
    records: list[list[str]] = []
    with suppress(csv.Error):
        for record in islice(filter(None, cut(StringIO(text), delimiter, quote, strict=True)), SAMPLE_RECORDS):
            records.append(record)
    return records


def cut(text: TextIO, delimiter: str, quote: str, *, strict: bool) -> _csv.Reader:
    """The records of `text` in this dialect; raises csv.Error for faulty quotes where `strict`."""
    if not quote:
        return csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(text, delimiter=delimiter, quotechar=quote, strict=strict)


def _plausible(records: list[list[str]]) -> tuple[bool, int, int, int]:
    columns = len(records[0]) if records else 0
    still_quoted = sum(len(v) > 1 and v[0] == v[-1] == "'" for record in records for v in record)
    return columns > 1, sum(len(record) == columns for record in records), columns, -still_quoted


def _is_header(first: list[str], second: list[str], null_values: Sequence[str], decimal: str | None) -> bool:
    def number(value: str) -> bool:
        return _is_number(value) or (decimal == "," and _is_number(value.replace(",", ".")))

    return not any(map(number, first)) or any(
        number(value) and not number(name) and name not in null_values
        for name, value in zip(first, second, strict=False)
    )


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
