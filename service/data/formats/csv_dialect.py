"""CSV dialect detection: delimiter, quotes, titles, header, from the first records.

Needs only Python. In a bundle this file is called csv_dialect.py.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice, product, takewhile
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from service.data.column_names import check_names
from service.data.csv_injection import unescape_formula
from service.data.formats.encoding import MAX_LINE_BYTES
from service.errors import InvalidData

if TYPE_CHECKING:
    import _csv

INDEX_COLUMN = "index"
SAMPLE_RECORDS = 20
DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r'\n*"?sep=([^\x00\r\n"\x80-\U0010ffff])"?(?:\n|\Z)', re.IGNORECASE)
"""The first line that Excel writes and obeys."""


@dataclass(frozen=True)
class AskedDialect:
    """What a client says of the dialect, as in `ReadOptions`; what is None is detected."""

    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Dialect:
    """How the records of a file are split into values, and where they start."""

    delimiter: str
    quote: str  # empty: values are never quoted
    names: tuple[str, ...]
    header: bool  # whether the first record holds the names
    skipped_lines: int  # before the first record: blank lines, `sep=`, titles
    title: bool  # whether there are titles among them
    separator_line: bool  # whether there is a `sep=` line among them
    index_column: str | None  # the name given to a first column that has none


@dataclass(frozen=True)
class _Candidate:
    """The first records of a file in one dialect."""

    records: list[list[str]]  # without titles
    titles: int  # records above the header
    lines: int  # above the first record


def detect(text: Path, null_values: Sequence[str], options: AskedDialect) -> Dialect:
    """The dialect of the UTF-8 file `text`, where `options` leave it open.

    The delimiter is the one of a `sep=` line, else the one that splits most of the first records into as many values
    as the first of them, at least two. Single quotes are quotes where they enclose values and there is no double quote.
    Titles above the header are skipped. The first record names the columns unless it holds a number and no column
    turns from text to numbers below; names changed by `escape_formula` are restored. Raises InvalidData for names
    that are missing, repeated, too long or too many, and for contradictory options.
    """
    if options.delimiter is not None and options.delimiter == options.quote:
        raise InvalidData(f"delimiter and quote are both {options.delimiter!r}: they must differ")
    with text.open(encoding="utf-8-sig") as file:
        start = file.read(2 * MAX_LINE_BYTES)
    if not start.strip():
        raise InvalidData("the file holds nothing but blank lines")
    separator = _SEPARATOR.match(start)
    body = start[separator.end() if separator else 0 :].lstrip("\n")
    asked = options.delimiter or (separator and separator[1])
    delimiters = (asked,) if asked else DELIMITERS
    quotes = _quotes(body) if options.quote is None else (options.quote,)
    found = {way: _candidate(body, *way, titles=options.header is None) for way in product(delimiters, quotes)}
    (delimiter, quote), best = max(found.items(), key=lambda item: _plausible(item[1].records))
    records = best.records
    if not records or (len(records[0]) == 1 and not all(each.records for each in found.values())):
        raise InvalidData("the first line opens a quote that is never closed, or goes on after a closing quote")
    first, second = records[0], (records[1] if len(records) > 1 else [])
    header = _is_header(first, second, null_values, options.decimal) if options.header is None else options.header
    names = tuple(map(unescape_formula, first)) if header else tuple(f"column{i + 1}" for i in range(len(first)))
    index_column = _index_column(names)
    if index_column:
        names = (index_column, *names[1:])
    check_names(names, "the first line")
    skipped = start[: len(start) - len(body)].count("\n") + best.lines
    return Dialect(delimiter, quote, names, header, skipped, best.titles > 0, separator is not None, index_column)


def _index_column(names: Sequence[str]) -> str | None:
    """A name for the first column, where it alone has none: pandas and R write row numbers so."""
    unnamed = [name for name in names if not name.strip()]
    if len(names) == 1 or len(unnamed) != 1 or names[0].strip():
        return None
    return INDEX_COLUMN if INDEX_COLUMN not in {name.lower() for name in names} else None


def _candidate(body: str, delimiter: str, quote: str, *, titles: bool) -> _Candidate:
    found = _first_records(body, delimiter, quote)
    records = [record for record, _ in found]
    above = _count_titles(records) if titles else 0
    return _Candidate(records[above:], above, found[above][1] if above else 0)


def _count_titles(records: list[list[str]]) -> int:
    """Records of one value at most above a header of several names and rows as wide, the first of which has a number;
    0 where it is not as clear as that."""
    above = len(list(takewhile(lambda record: sum(map(bool, map(str.strip, record))) <= 1, records)))
    header, rows = (records[above], records[above + 1 :]) if above < len(records) else ([], [])
    names = {name.strip().lower() for name in header}
    clear = (
        len(header) >= 2
        and "" not in names
        and len(names) == len(header)
        and not any(map(_is_number, header))
        and len(rows) >= 2
        and all(len(row) == len(header) for row in rows)
        and any(map(_is_number, rows[0]))
    )
    return above if clear else 0


def _quotes(text: str) -> tuple[str, ...]:
    wrapped = '"' not in text and re.search(r"(^|[,;\t|])'[^'\n]*'([,;\t|]|$)", text, re.MULTILINE)
    return ('"', "'") if wrapped else ('"',)


def _first_records(text: str, delimiter: str, quote: str) -> list[tuple[list[str], int]]:
    """The first records that are not blank, each with the number of lines above it, up to where the text ends or
    breaks the rules of quoting."""
    csv.field_size_limit(2 * MAX_LINE_BYTES)
    records: list[tuple[list[str], int]] = []
    reader = cut(StringIO(text), delimiter, quote, strict=True)
    with suppress(csv.Error):
        for record in islice(filter(None, reader), SAMPLE_RECORDS):
            records.append((record, reader.line_num - 1 - sum(value.count("\n") for value in record)))
    return records


def cut(text: Iterable[str], delimiter: str, quote: str, *, strict: bool) -> _csv.Reader:
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
