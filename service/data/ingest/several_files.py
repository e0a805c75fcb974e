"""Several files of one format as one table: their rows one after another, their columns by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from duckdb import DuckDBPyConnection

from service.data.column_names import check_names
from service.data.duckdb_connection import sandbox
from service.data.formats.compression import Compression
from service.data.ingest.open_source import open_source
from service.data.sql import aggregate
from service.data.staging import SLICE_COLUMNS, RawSlice, Reading, ReadLimits, parquet_sql, write_parquet
from service.errors import InvalidData, TooLarge
from service.spec.read_options import FileFormat, ReadOptions
from service.spec.text import some

FORMATS = (FileFormat.csv, FileFormat.jsonl, FileFormat.parquet)
MAX_WARNINGS = 20  # of the files; each may have the same


@dataclass(frozen=True)
class _StagedFile:
    """A file whose values are staged: an SQL expression for each column, and the relation that has them."""

    name: str
    reading: Reading
    relation: str
    values: dict[str, str]  # of columns with any value


def open_files(
    sources: Sequence[Path], names: Sequence[str], work: Path, options: ReadOptions, limits: ReadLimits
) -> tuple[DuckDBPyConnection, Reading, Compression | None]:
    """As `open_source`, for several files, which errors and warnings call by `names`.

    A column that a file does not have is missing in its rows. Raises InvalidData for files of different formats.
    """
    if len(sources) == 1:
        return open_source(sources[0], work, options, limits)
    files: list[_StagedFile] = []
    left, compression = limits.unpacked_bytes, None
    for number, (source, name) in enumerate(zip(sources, names, strict=True)):
        folder = work / f"file{number}"
        folder.mkdir()
        try:
            file, compression = _staged(source, name, folder, options, replace(limits, unpacked_bytes=left))
        except InvalidData as error:
            raise InvalidData(f"{name}: {error.detail}") from None
        except TooLarge:
            raise TooLarge(f"the files decompress to more than {limits.unpacked_bytes:,} bytes, the limit") from None
        files.append(file)
        left -= _unpacked(source, folder)
        _check_format(files)
    connection = sandbox(sources[0], work, limits.memory_bytes)
    return connection, _joined(connection, files, work), compression


def _staged(
    source: Path, name: str, folder: Path, options: ReadOptions, limits: ReadLimits
) -> tuple[_StagedFile, Compression | None]:
    """A file with all its values in the folder: it is read by a connection of its own."""
    connection, reading, compression = open_source(source, folder, options, limits)
    relations, values = list[str](), dict[str, str]()
    for number, raw in enumerate(reading.slices):
        columns = range(len(raw.names))
        staged = folder / f"staged{number}.parquet"
        write_parquet(
            connection.sql(f"FROM {raw.sql} SELECT {', '.join(f'c{i}' for i in columns)}"), staged, len(columns)
        )
        relations.append(f"{parquet_sql(staged)} AS s{number}")
        counts = aggregate(connection, parquet_sql(staged), [[f"count(c{i})"] for i in columns])
        values |= {raw.names[i]: f"s{number}.c{i}" for i, (count,) in zip(columns, counts, strict=True) if count}
    connection.close()
    return _StagedFile(name, reading, " POSITIONAL JOIN ".join(relations), values), compression


def _unpacked(source: Path, folder: Path) -> int:
    """Bytes of the file, decompressed."""
    inside = folder / "uncompressed"
    return (inside if inside.exists() else source).stat().st_size


def _check_format(files: Sequence[_StagedFile]) -> None:
    first, last = files[0], files[-1]
    format_, other = first.reading.read_as.format, last.reading.read_as.format
    if other is not format_:
        raise InvalidData(f"{first.name} is {format_}, but {last.name} is {other}: read files of one format together")
    if format_ not in FORMATS:
        raise InvalidData(
            f"several files of the format {format_} cannot be read together; those of {some(FORMATS)} can"
        )


def _joined(connection: DuckDBPyConnection, files: Sequence[_StagedFile], work: Path) -> Reading:
    """The files as one reading; null values count as missing in all of them."""
    first = files[0].reading
    names = list(dict.fromkeys(name for file in files for raw in file.reading.slices for name in raw.names))
    check_names(names, "the files")
    slices: list[RawSlice] = []
    for start in range(0, len(names), SLICE_COLUMNS):
        part = names[start : start + SLICE_COLUMNS]
        empty = {name: "NULL::VARCHAR" for name in part if all(name not in file.values for file in files)}
        rows = " UNION ALL ".join(f"(FROM {file.relation} SELECT {_columns(file, part, empty)})" for file in files)
        staged = work / f"joined{len(slices)}.parquet"
        write_parquet(connection.sql(f"FROM ({rows})"), staged, len(part))
        slices.append(RawSlice(parquet_sql(staged), tuple(part)))
    return replace(
        first,
        slices=tuple(slices),
        rows=sum(file.reading.rows for file in files),
        null_values=tuple(dict.fromkeys(text for file in files for text in file.reading.null_values)),
        warnings=tuple(_warnings(files, names)),
        line_of=None,
    )


def _columns(file: _StagedFile, names: Sequence[str], empty: Mapping[str, str]) -> str:
    """The columns as SQL. One without a value in this file has the type of the other files; `empty`: in none."""
    values = {**empty, **file.values}
    return ", ".join(f"{values.get(name, 'NULL')} AS c{i}" for i, name in enumerate(names))


def _warnings(files: Sequence[_StagedFile], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        without = [file.name for file in files if all(name not in raw.names for raw in file.reading.slices)]
        if without:
            yield f"column {name!r} is missing in {len(without):,} of {len(files):,} files: {some(without)}"
    said = list(dict.fromkeys(f"{file.name}: {text}" for file in files for text in file.reading.warnings))
    yield from said[:MAX_WARNINGS]
    if len(said) > MAX_WARNINGS:
        yield f"{len(said) - MAX_WARNINGS:,} more warnings of files are left out"
