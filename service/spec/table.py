"""Tables: columns and their profile, the stored data set."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from service.spec.base import OpenEnum, Strict
from service.spec.data_reference import Provenance
from service.spec.read_options import ReadAs
from service.spec.text import similar, some

MAX_VALUES = 1_000
MIN_CATEGORY_ROWS = 5
"""Minimum number of rows of a category; rarer texts share one input, or have none."""
QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
HISTOGRAM_BINS = 20
MIN_ID_ROWS = 100
ID_SHARE = 0.99

Value = bool | int | float | str


class ColumnType(OpenEnum):
    """The type of a column."""

    number = "number"
    integer = "integer"
    boolean = "boolean"
    text = "text"
    datetime = "datetime"


class ValueCount(Strict):
    """A distinct value of a column and its row count."""

    value: Value
    """The value."""
    count: int
    """Number of rows that have it."""


class Quantiles(Strict):
    """Quantiles of the numbers of a column; each is a value of some row."""

    p5: float
    """5% of them."""
    p25: float
    """A quarter."""
    p50: float
    """Half: the median, the lower one of two."""
    p75: float
    """Three quarters."""
    p95: float
    """95% of them."""


class Column(Strict):
    """A column and the profile of its values."""

    name: str
    """The column's name."""
    type: ColumnType
    """Type of its values."""
    missing: int
    """Number of missing values."""
    distinct: int
    """Number of distinct values, without missing ones."""
    min: float | str | None = None
    """Smallest number, or earliest time as text (UTC); null for text."""
    max: float | str | None = None
    """Largest number, or latest time as text (UTC); null for text."""
    mean: float | None = None
    """Mean of the numbers; null for text and times."""
    std: float | None = None
    """Standard deviation of the numbers (divided by n); null for text and times."""
    quantiles: Quantiles | None = None
    """Quantiles of numbers and integers; estimated from a sample in tables of more than 5 million rows."""
    histogram: list[int] | None = None
    """Row counts of 20 bins of equal width from `min` to `max`, for numbers, integers and times that are not
    constant; null where `values` is more precise."""
    values: list[ValueCount] | None = None
    """All distinct values in order, for text, boolean and integer columns with at most 1,000, within the size limit of
    profiles."""
    top: list[ValueCount] | None = None
    """For texts and integers with more values: the 1,000 most frequent that have 5 rows or more, most frequent first;
    fewer within the size limit of profiles."""
    given_away_by: list[str] = []
    """Other columns, 10 at most, each of which alone nearly determines this one (possible target leakage)."""

    def resembles_an_id(self, rows: int) -> bool:
        """Whether it is a likely ID column: an integer or text that is distinct in nearly all of `rows` rows."""
        present = rows - self.missing
        kinds = (ColumnType.integer, ColumnType.text)
        return self.type in kinds and present >= MIN_ID_ROWS and self.distinct >= ID_SHARE * present

    @property
    def similar_values(self) -> list[str]:
        """Listed texts that differ from another one only in case or spaces."""
        texts = [value.value for value in self.values or () if isinstance(value.value, str)]
        times = Counter(map(_folded, texts))
        return [text for text in texts if times[_folded(text)] > 1]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


class TableProfile(Strict):
    """Rows and columns of a table."""

    rows: int
    """Number of rows."""
    columns: list[Column]
    """The columns in the table's order."""
    null_values: list[str] = []
    """Texts that were read as missing values."""
    date_format: str | None = None
    """Date format of the file; null for ISO 8601, or if there are no dates."""
    duplicate_rows: int | None = None
    """Number of duplicates of earlier rows; null if unknown."""
    index_column: str | None = None
    """The row index: a column without a name in the file; no feature unless named."""

    def column(self, name: str) -> Column | None:
        """The column of this name, or None."""
        return self._by_name.get(name)

    def no_column(self, name: str) -> str:
        """The message for a column that is not in the table; cached, because all points of a sweep ask for it."""
        if name not in self._no_column:
            meant = similar(name, self._by_name)
            hint = f"did you mean {meant!r}?" if meant else f"there are: {some(self._by_name, most=20)}"
            self._no_column[name] = f"no column {name!r}; {hint}"
        return self._no_column[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def _no_column(self) -> dict[str, str]:
        return {}


class Ingested(Strict):
    """The result of reading an uploaded file: the table's profile, how it was read, and its Parquet file."""

    rows: int
    """Number of rows."""
    columns: list[Column]
    """Schema and profile, a column each."""
    duplicate_rows: int
    """Number of duplicates of earlier rows."""
    warnings: list[str]
    """What may be wrong with the file, or with how it was read."""
    read_as: ReadAs
    """How the file was read."""
    null_values: list[str]
    """Texts that were read as missing values."""
    parquet_sha256: str
    """SHA-256 of the Parquet file."""
    parquet_bytes: int
    """Size of the Parquet file in bytes."""


class StoredDataset(Strict):
    """An uploaded table without its columns."""

    id: str
    """The data set's id."""
    object: Literal["dataset"] = "dataset"
    """What this JSON object is."""
    name: str | None
    """The name given at upload."""
    rows: int
    """Number of rows."""
    duplicate_rows: int | None = None
    """Number of duplicates of earlier rows; null for tables stored before these were counted."""
    null_values: list[str]
    """Texts that were read as missing values."""
    read_as: ReadAs
    """How the file was read."""
    warnings: list[str]
    """Warnings about the file and its values."""
    sha256: str
    """SHA-256 of the uploaded bytes."""
    source_bytes: int
    """Size of the upload in bytes."""
    parquet_sha256: str
    """SHA-256 of the stored Parquet file."""
    parquet_bytes: int
    """Size of the stored Parquet file in bytes."""
    version: int = 1
    """Number of the refresh that made it: data sets read from a connection have 2 and more after a refresh."""
    connection: str | None = None
    """Name of the connection that it was read from; null: it was uploaded."""
    created_at: datetime
    """When it was uploaded or read (UTC)."""


class DatasetSummary(StoredDataset):
    """An uploaded table with the number of its columns, of which there may be thousands."""

    column_count: int
    """Number of columns."""


class Dataset(StoredDataset):
    """A table, stored once as Parquet."""

    columns: list[Column]
    """Schema and profile, a column each."""
    provenance: Provenance | None = None
    """Where its rows come from; null: it was uploaded."""

    @classmethod
    def of(cls, ingested: Ingested, **fields: Any) -> Dataset:
        """The data set of a file that was read; `fields` are those that reading does not give."""
        return cls(**dict(ingested), **fields)

    @property
    def profile(self) -> TableProfile:
        """The profile of the table."""
        return TableProfile(
            rows=self.rows,
            columns=self.columns,
            null_values=self.null_values,
            date_format=self.read_as.date_format,
            duplicate_rows=self.duplicate_rows,
            index_column=self.read_as.index_column,
        )
