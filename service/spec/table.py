"""A table as the rest of the service knows it: columns, their profile, the stored data set."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from service.spec.base import OpenEnum, Strict
from service.spec.data import InlineData, SyntheticData
from service.spec.read_options import ReadAs
from service.spec.text import some

MAX_VALUES = 1_000
MIN_CATEGORY_ROWS = 5
"""A text that fewer rows hold is too rare to be learnt as a category of its own."""
QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
HISTOGRAM_BINS = 20
MIN_ID_ROWS = 100
ID_SHARE = 0.99

Value = bool | int | float | str


class ColumnType(OpenEnum):
    """How a column's values were read."""

    number = "number"
    integer = "integer"
    boolean = "boolean"
    text = "text"
    datetime = "datetime"


class ValueCount(Strict):
    """One distinct value of a column and how many rows hold it."""

    value: Value
    """The value."""
    count: int
    """How many rows hold it."""


class Quantiles(Strict):
    """Values that so many of a column's numbers do not exceed; each is one that a row holds."""

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
    """One column and what is known of its values."""

    name: str
    """The column's name."""
    type: ColumnType
    """How its values were read."""
    missing: int
    """Rows without a value."""
    distinct: int
    """Different values, missing ones not counted."""
    min: float | str | None = None
    """Smallest number, or earliest time as text (UTC); null for text."""
    max: float | str | None = None
    """Largest number, or latest time as text (UTC); null for text."""
    mean: float | None = None
    """Mean of the numbers; null for text and times."""
    std: float | None = None
    """Standard deviation of the numbers (divided by n); null for text and times."""
    quantiles: Quantiles | None = None
    """Quantiles of numbers and integers; in tables of more than 5 million rows, of so many drawn from them."""
    histogram: list[int] | None = None
    """Rows in each of 20 bins of equal width from `min` to `max`, for numbers, integers and times that differ; null
    where `values` says more."""
    values: list[ValueCount] | None = None
    """Every distinct value in order, where a text, boolean or integer column has at most 1,000 and there is room for
    them."""
    top: list[ValueCount] | None = None
    """Of texts or integers with more values, the most frequent 1,000 that 5 rows or more hold, the most frequent
    first; fewer where there is no room for them."""
    given_away_by: list[str] = []
    """Other columns each of which alone tells this one's value in nearly every row; 10 at most."""

    def resembles_an_id(self, rows: int) -> bool:
        """Whether nearly every row has a whole number or a text of its own, in a table of so many rows."""
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
    """Texts that were read as a missing value."""
    date_format: str | None = None
    """How dates were written in the file; null where as ISO 8601 has it, or there are none."""
    duplicate_rows: int | None = None
    """Rows that equal an earlier one in every column; null where that is not known."""
    index_column: str | None = None
    """The row index: a column without a name in the file; no feature unless named."""

    def column(self, name: str) -> Column | None:
        """The column of this name, or None."""
        return self._by_name.get(name)

    @property
    def some_names(self) -> str:
        """The names of its columns for people, the first 20 of many."""
        return some((column.name for column in self.columns), most=20)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


class Ingested(Strict):
    """The result of reading an uploaded file: the table's profile, how it was read, and its Parquet file."""

    rows: int
    """Number of rows."""
    columns: list[Column]
    """Schema and profile, a column each."""
    duplicate_rows: int
    """Rows that equal an earlier one in every column."""
    warnings: list[str]
    """What may be wrong with the file, or with how it was read."""
    read_as: ReadAs
    """How the file was read."""
    null_values: list[str]
    """Texts that were read as a missing value."""
    parquet_sha256: str
    """SHA-256 of the Parquet file."""
    parquet_bytes: int
    """Size of the Parquet file in bytes."""


class StoredDataset(Strict):
    """What is known of an uploaded table besides its columns."""

    id: str
    """The data set's id."""
    object: Literal["dataset"] = "dataset"
    """What this JSON object is."""
    name: str | None
    """The name given at upload."""
    rows: int
    """Number of rows."""
    duplicate_rows: int | None = None
    """Rows that equal an earlier one in every column; null for tables stored before these were counted."""
    null_values: list[str]
    """Texts that were read as a missing value."""
    read_as: ReadAs
    """How the file was read."""
    warnings: list[str]
    """What the reader of the file noticed."""
    sha256: str
    """SHA-256 of the uploaded bytes."""
    source_bytes: int
    """Size of the upload in bytes."""
    parquet_sha256: str
    """SHA-256 of the stored Parquet file."""
    parquet_bytes: int
    """Size of the stored Parquet file in bytes."""
    created_at: datetime
    """When it was uploaded (UTC)."""


class DatasetSummary(StoredDataset):
    """An uploaded table without its columns, of which there may be thousands."""

    column_count: int
    """Number of columns."""


class Dataset(StoredDataset):
    """An uploaded table, stored once as Parquet."""

    columns: list[Column]
    """Schema and profile, a column each."""

    @classmethod
    def of(cls, ingested: Ingested, **fields: Any) -> Dataset:
        """The data set of a file that was read; `fields` are those that reading does not give."""
        return cls(**dict(ingested), **fields)

    @property
    def profile(self) -> TableProfile:
        """What the data set says of its rows and columns."""
        return TableProfile(
            rows=self.rows,
            columns=self.columns,
            null_values=self.null_values,
            date_format=self.read_as.date_format,
            duplicate_rows=self.duplicate_rows,
            index_column=self.read_as.index_column,
        )


def synthetic_profile(data: SyntheticData) -> TableProfile:
    """The profile of made-up rows, known without making them: x0, x1, ... and the classes in y."""
    target = Column(
        name="y",
        type=ColumnType.integer,
        missing=0,
        distinct=data.classes,
        values=[ValueCount(value=c, count=(data.rows - c - 1) // data.classes + 1) for c in range(data.classes)],
    )
    features = [
        Column(name=f"x{i}", type=ColumnType.number, missing=0, distinct=data.rows) for i in range(data.features)
    ]
    return TableProfile(rows=data.rows, columns=[*features, target], duplicate_rows=0)


def inline_profile(data: InlineData) -> TableProfile:
    """The profile of the rows of a request."""
    columns = [_profile_values(f"x{i}", list(column)) for i, column in enumerate(zip(*data.x, strict=True))]
    different = {(*x, y) for x, y in zip(data.x, data.y, strict=True)}
    return TableProfile(
        rows=len(data.x),
        columns=[*columns, _profile_values("y", data.y)],
        duplicate_rows=len(data.x) - len(different),
    )


def _profile_values(name: str, cells: list[Value | None] | list[float | None]) -> Column:
    counts: Counter[Value] = Counter(cell for cell in cells if cell is not None)
    kind = _type_of(list(counts))
    numbers = [(float(v), n) for v, n in counts.items()] if kind is not ColumnType.text else []
    total = counts.total()
    mean = sum(v * n for v, n in numbers) / total if numbers else None
    # A product, not a power: the square of a huge float is then infinite, where `**` would raise.
    variance = sum((v - mean) * (v - mean) * n for v, n in numbers) / total if mean is not None else None
    listed = kind is not ColumnType.number and len(counts) <= MAX_VALUES
    return Column(
        name=name,
        type=kind,
        missing=len(cells) - total,
        distinct=len(counts),
        min=min((v for v, _ in numbers), default=None),
        max=max((v for v, _ in numbers), default=None),
        mean=_finite(mean),
        std=None if variance is None else _finite(math.sqrt(variance)),
        values=[ValueCount(value=_plain(v, kind), count=n) for v, n in sorted(counts.items())] if listed else None,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _type_of(values: list[Value]) -> ColumnType:
    if any(isinstance(v, str) for v in values):
        return ColumnType.text
    if values and all(isinstance(v, bool) for v in values):
        return ColumnType.boolean
    if all(float(v).is_integer() and abs(v) < 2**53 for v in values if not isinstance(v, str)):
        return ColumnType.integer
    return ColumnType.number


def _plain(value: Value, kind: ColumnType) -> Value:
    return int(value) if kind is ColumnType.integer else value
