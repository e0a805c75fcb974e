"""Distribution of a column as SQL: moments, quantiles and histogram."""

from __future__ import annotations

from math import frexp
from pathlib import Path

from service.data.staging import numbered_parquet_sql, parquet_sql, sampled
from service.spec.table import HISTOGRAM_BINS, QUANTILES, ColumnType

QUANTILE_ROWS = 5_000_000
"""Rows used for quantiles, which hold all values in memory; longer tables are sampled."""

NUMERIC = (ColumnType.number, ColumnType.integer, ColumnType.boolean, ColumnType.datetime)


def table_sql(path: Path, rows: int) -> str:
    """The rows of a Parquet file, numbered only if quantiles need a sample: numbering is slower."""
    return numbered_parquet_sql(path) if rows > QUANTILE_ROWS else parquet_sql(path)


def as_number(column: str, kind: ColumnType) -> str:
    """SQL of the values of a column that is not text as floats; dates in microseconds, NULL for infinite ones."""
    return f"epoch_us({column})::DOUBLE" if kind is ColumnType.datetime else f"{column}::DOUBLE"


def scale_of(low: float, high: float) -> float:
    """A power of two near the larger magnitude: divided by it, sums of squares cannot overflow."""
    _, exponent = frexp(max(abs(low), abs(high)))
    return float(2.0 ** (exponent - 1))


def moments_sql(line: str, scale: float) -> tuple[str, str]:
    """Mean and standard deviation, both divided by `scale`."""
    scaled = f"{line} / {scale!r}::DOUBLE"
    return f"avg({scaled})", f"stddev_pop({scaled})"


def quantiles_sql(line: str, rows: int) -> str:
    """The QUANTILES of a column of `table_sql` as a list, each a value that a row holds."""
    drawn = f" FILTER ({sampled(rows, QUANTILE_ROWS)})" if rows > QUANTILE_ROWS else ""
    return f"quantile_disc({line}, {list(QUANTILES.values())}){drawn}"


def histogram_sql(line: str, low: float, high: float) -> str:
    """Rows by bin of those that hold any, where `low` < `high` are the least and the largest value."""
    scale = scale_of(low, high)
    start, width = low / scale, high / scale - low / scale
    # The product first: the edges between whole numbers then fall exactly where they should.
    place = f"({line} / {scale!r}::DOUBLE - {start!r}::DOUBLE) * {HISTOGRAM_BINS} / {width!r}::DOUBLE"
    # The filter, as `least` passes over NULL.
    return f"histogram(least(floor({place}), {HISTOGRAM_BINS - 1})::UTINYINT) FILTER ({line} IS NOT NULL)"
