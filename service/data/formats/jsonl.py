"""JSON Lines reader: one flat object per line, validated line by line, then parsed by DuckDB."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from service.data.column_names import MAX_COLUMNS, check_names
from service.data.formats.encoding import MAX_LINE_BYTES, Text
from service.data.staging import SLICE_COLUMNS, RawSlice, Reading, parquet_sql, write_parquet
from service.errors import InvalidData
from service.spec.read_options import FileFormat, ReadAs, ReadOptions

LARGEST = 10**308
SPARSE_CELLS = 1_000_000
SPARSEST = 100
"""Maximum ratio of cells to values in a table of more than SPARSE_CELLS: a file of short lines with different keys
would become a table of quadratic size."""
Keys = dict[str, set[type]]


def read_jsonl(connection: DuckDBPyConnection, text: Text, work: Path, options: ReadOptions) -> Reading:
    """The values of a JSON Lines file, a column a key, staged in the folder `work`.

    A key that is absent from a line is a missing value. Raises InvalidData naming line and key: for lines that are no
    JSON object, duplicate keys, NaN, numbers beyond float64, and nested values.
    """
    keys, rows, values = _check(text.path)
    if not rows:
        raise InvalidData("the file holds nothing but blank lines")
    if not keys:
        raise InvalidData("the objects of the file have no keys")
    check_names(list(keys), "the file")
    if rows * len(keys) > max(SPARSE_CELLS, SPARSEST * values):
        shape = f"{rows:,} objects with {len(keys):,} different keys, and {values:,} values"
        raise InvalidData(
            f"{shape}: fewer than one in {SPARSEST} cells of the table would have one; put keys into rows"
        )
    types = {key: _sql_type(kinds) for key, kinds in keys.items()}
    names = list(keys)
    slices: list[RawSlice] = []
    for start in range(0, len(names), SLICE_COLUMNS):
        part = names[start : start + SLICE_COLUMNS]
        relation = connection.read_json(
            str(text.path),
            columns={name: types[name] for name in part},
            format="newline_delimited",
            maximum_object_size=2 * MAX_LINE_BYTES,
        )
        staged = work / f"jsonl{len(slices)}.parquet"
        aliases = ", ".join(f"#{i + 1} AS c{i}" for i in range(len(part)))
        write_parquet(relation.project(aliases), staged, len(part))
        slices.append(RawSlice(parquet_sql(staged), tuple(part)))
    mixed = tuple(
        f"column {key!r} has text and other values: all are read as text"
        for key, kinds in keys.items()
        if str in kinds and len(kinds) > 1
    )
    read_as = ReadAs(format=FileFormat.jsonl, encoding=text.encoding)
    return Reading(tuple(slices), rows, read_as, tuple(options.null or ()), warnings=(*text.warnings, *mixed))


def _sql_type(kinds: set[type]) -> str:
    if kinds == {bool}:
        return "BOOLEAN"
    return "DOUBLE" if kinds and kinds <= {int, float} else "VARCHAR"


def _check(text: Path) -> tuple[Keys, int, int]:
    """(value types of each key, without null; number of objects; number of values)."""
    keys: Keys = {}
    rows = values = 0
    seen: set[tuple[tuple[str, ...], tuple[type, ...]]] = set()
    for number, line in _lines(text):
        row = _object(line, number)
        rows += 1
        values += len(row)
        shape = (tuple(row), tuple(map(type, row.values())))
        if shape not in seen:
            _add_types(row, number, keys)
            if len(seen) < MAX_COLUMNS:
                seen.add(shape)
        if any(kind in (int, float) for kind in shape[1]):
            _check_numbers(row, number)
    return keys, rows, values


def _lines(text: Path) -> Iterator[tuple[int, str]]:
    with text.open(encoding="utf-8-sig", newline="\n") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise InvalidData(f"line {number} is longer than {MAX_LINE_BYTES:,} characters: {line[:60]!r}...")
            if line.strip():
                yield number, line.rstrip("\n")


def _object(line: str, number: int) -> dict[str, Any]:
    def flat(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            times = Counter(name for name, _ in pairs)
            raise InvalidData(f"line {number}: key {next(n for n in times if times[n] > 1)!r} is duplicated")
        return row

    def no_number(name: str) -> Any:
        raise InvalidData(f"line {number}: {name} is no JSON; write null for a missing value")

    try:
        row = json.loads(line, object_pairs_hook=flat, parse_constant=no_number)
        if "\\u" in line:
            _check_texts(row, number)
    except json.JSONDecodeError as error:
        raise InvalidData(f"line {number}, column {error.colno} is not JSON: {error.msg}") from None
    except RecursionError:
        raise InvalidData(f"line {number} is nested too deeply: values must be flat") from None
    except ValueError:
        raise InvalidData(f"line {number} holds a number of too many digits") from None
    if not isinstance(row, dict):
        raise InvalidData(f"line {number} is no JSON object: write one object a line")
    return row


def _check_texts(row: Any, number: int) -> None:
    """Refuse NUL and lone surrogates, which escapes can encode."""
    if not isinstance(row, dict):
        return
    for key, value in row.items():
        for text in (key, value):
            if isinstance(text, str) and ("\0" in text or any("\ud800" <= c <= "\udfff" for c in text)):
                raise InvalidData(f"line {number}, key {key!a}: the text contains NUL or a lone surrogate")


def _add_types(row: dict[str, Any], number: int, keys: Keys) -> None:
    for key, value in row.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "a list"
            raise InvalidData(f"line {number}, key {key[:60]!r} holds {kind}: values must be flat")
        kinds = keys.setdefault(key, set())
        if value is not None:
            kinds.add(type(value))
    if len(keys) > MAX_COLUMNS:
        raise InvalidData(f"line {number}: more than {MAX_COLUMNS:,} different keys; at most {MAX_COLUMNS:,} are read")


def _check_numbers(row: dict[str, Any], number: int) -> None:
    for key, value in row.items():
        if (type(value) is float and not math.isfinite(value)) or (type(value) is int and abs(value) > LARGEST):
            raise InvalidData(f"line {number}, key {key[:60]!r}: the number is too large")
