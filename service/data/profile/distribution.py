"""How a column's values are spread along a line, as SQL: moments, quantiles and a histogram."""

from __future__ import annotations

from math import frexp
from pathlib import Path

from service.data.staging import numbered_parquet_sql, parquet_sql, sampled
from service.spec.table import HISTOGRAM_BINS, QUANTILES, ColumnType

QUANTILE_ROWS = 5_000_000
"""Rows whose values are held at once to find quantiles; of a longer table that many are drawn."""

ON_A_LINE = (ColumnType.number, ColumnType.integer, ColumnType.boolean, ColumnType.datetime)


def table_sql(path: Path, rows: int) -> str:
    """The rows of a Parquet file, numbered where quantiles need them to be: that takes longer."""
    return numbered_parquet_sql(path) if rows > QUANTILE_ROWS else parquet_sql(path)


def on_a_line(column: str, kind: ColumnType) -> str:
    """The values of a column that is not text as floats; of dates microseconds, NULL for infinite ones."""
    return f"epoch_us({column})::DOUBLE" if kind is ColumnType.datetime else f"{column}::DOUBLE"


def scale_of(low: float, high: float) -> float:
    """A power of two near the larger magnitude: sums of squares of what is left by it cannot overflow."""
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
