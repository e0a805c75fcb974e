"""Data sources: stored data sets, synthetic data, inline rows, and rows to predict, each as a Table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from service.data.duckdb_connection import sandbox
from service.data.preprocess.cells import cell
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import Preprocessing, Table
from service.data.sql import sql_name
from service.errors import DatasetCorrupt, FieldError, InvalidData, json_pointer
from service.spec.data import DatasetData, InlineData, SyntheticData
from service.spec.resolved import Preparation
from service.spec.table import Value
from service.spec.text import similar, some

MAX_FAULTS = 20


def load(preparation: Preparation, parquet: Path | None) -> Table:
    """Features, target, split and weight columns of every row that has a target, in the source's row order.

    `parquet` is the stored table of a data set, None for data inside the spec. Raises DatasetCorrupt if the file cannot
    be read.
    """
    data = preparation.data
    if isinstance(data, SyntheticData):
        return synthetic(data)
    if isinstance(data, InlineData):
        return _inline(data, preparation)
    assert parquet is not None
    return _stored(data, preparation, parquet)


def table_from_rows(rows: Sequence[Mapping[str, Value | None]], preprocessing: Preprocessing) -> Table:
    """Rows to predict, as JSON objects by column name, as a Table of the features.

    Nulls, absent columns, texts such as "NA" and numbers that are not finite are missing values; dates are RFC 3339 or
    ISO 8601 texts. A row may contain the target and other columns; but if a row lacks a feature, a column that is
    neither feature nor target is taken for a misspelling. Raises InvalidData with a pointer to each of the first 20
    invalid values.
    """
    features = preprocessing.features
    known, target = {feature.column for feature in features}, preprocessing.target.column
    faults: list[FieldError] = []
    for number, row in enumerate(rows):
        faults += islice(_misspelled(number, row, known, target, first=not faults), MAX_FAULTS)
        if len(faults) >= MAX_FAULTS:
            break
    columns: dict[str, NDArray[Any]] = {}
    for feature in features:
        if len(faults) >= MAX_FAULTS:
            break
        columns[feature.column] = _column_of_rows(rows, feature, preprocessing.nulls_of(feature), faults)
    if faults:
        first = faults[0]
        raise InvalidData(f"{first.pointer}: {first.message}", tuple(faults[:MAX_FAULTS]))
    return Table(columns, len(rows))


def table_from_staged(folder: Path, preprocessing: Preprocessing, rows: range) -> Table:
    """A range of the rows that `read_rows` has staged in `folder`, or every so many of them, as a Table of features."""
    columns: dict[str, NDArray[Any]] = {}
    for path in folder.glob("rows*.parquet"):
        staged = sandbox(path).read_parquet(str(path), file_row_number=True)
        part = staged.filter(f"file_row_number >= {rows.start} AND file_row_number < {rows.stop}")
        if rows.step > 1:
            part = part.filter(f"(file_row_number - {rows.start}) % {rows.step} = 0")
        for name, values in part.project("* EXCLUDE file_row_number").fetchnumpy().items():
            columns[preprocessing.features[int(name.removeprefix("c"))].column] = without_mask(values)
    return Table(columns, len(rows))


def _stored(data: DatasetData, preparation: Preparation, parquet: Path) -> Table:
    target = preparation.target.column
    names = [*source_columns(preparation), target]
    try:
        relation = sandbox(parquet).read_parquet(str(parquet))
        types = dict(zip(relation.columns, map(str, relation.types), strict=True))
        values = ", ".join(f"{read_as(sql_name(name), types[name])} AS c{i}" for i, name in enumerate(names))
        present = f"{sql_name(target)} IS NOT NULL"
        found = relation.filter(present).project(values).fetchnumpy()
        stored = None
        if len(relation) != len(found["c0"]):
            stored = np.flatnonzero(relation.project(f"{present} AS present").fetchnumpy()["present"])
    except duckdb.Error as error:
        raise DatasetCorrupt(f"data set {data.id} cannot be read: {str(error).splitlines()[0]}") from error
    columns = {name: without_mask(found[f"c{i}"]) for i, name in enumerate(names)}
    return Table(columns, len(columns[target]), stored)


def source_columns(preparation: Preparation) -> list[str]:
    """The columns that `load` reads other than the target, without duplicates."""
    data = preparation.data
    weight = [data.weight] if isinstance(data, DatasetData) and data.weight is not None else []
    return list(dict.fromkeys([*(f.column for f in preparation.features), *preparation.split.columns, *weight]))


def read_as(column: str, stored_as: str) -> str:
    """SQL of a column's values: texts unchanged, dates in seconds since 1970, all else as numbers."""
    if stored_as == "VARCHAR":
        return column
    number = f"epoch({column})" if stored_as.startswith(("DATE", "TIME")) else f"{column}::DOUBLE"
    return f"coalesce({number}, 'nan'::DOUBLE)"


def without_mask(values: NDArray[Any]) -> NDArray[Any]:
    """The values with None in place of masked ones."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    plain: NDArray[Any] = np.asarray(values.data)
    plain[np.ma.getmaskarray(values)] = None
    return plain


def synthetic(data: SyntheticData) -> Table:
    """Standard normal features x0, x1, ... and class numbers y.

    With a signal each class has a centre drawn from a normal distribution, scaled so that the mean squared distance
    of two centres is `signal` squared.
    """
    rng = np.random.default_rng(data.seed)
    x = rng.standard_normal((data.rows, data.features))
    labels = rng.permutation(np.arange(data.rows) % data.classes)
    if data.signal:
        deviation = data.signal / np.sqrt(2 * data.features)
        x += rng.normal(0.0, deviation, (data.classes, data.features))[labels]
    columns = {f"x{i}": column for i, column in enumerate(np.ascontiguousarray(x.T))}
    return Table({**columns, "y": labels.astype(np.float64)}, data.rows)


def _inline(data: InlineData, preparation: Preparation) -> Table:
    kept = [i for i, value in enumerate(data.y) if value is not None]
    x = np.array([data.x[i] for i in kept], dtype=np.float64)  # None becomes NaN
    target = [data.y[i] for i in kept]
    columns: dict[str, NDArray[Any]] = {
        name: np.ascontiguousarray(x[:, int(name[1:])]) for name in source_columns(preparation)
    }
    columns["y"] = np.array(target, dtype=object if isinstance(target[0], str) else np.float64)
    return Table(columns, len(kept), np.array(kept))


def _misspelled(
    number: int, row: Mapping[str, Value | None], known: set[str], target: str, *, first: bool
) -> Iterator[FieldError]:
    """Columns that are neither features nor the target, in a row that lacks a feature; `first`: no error precedes."""
    missing = known - row.keys()
    if not missing:
        return
    for name in row:
        if name not in known and name != target:
            meant = similar(name, missing) if first else None
            first = False
            hint = f"did you mean {meant!r}?" if meant else f"the row has no value for {some(sorted(missing))}"
            yield FieldError(json_pointer("rows", number, name), f"no such feature; {hint}")


def _column_of_rows(
    rows: Sequence[Mapping[str, Value | None]], feature: FittedFeature, null_values: set[str], faults: list[FieldError]
) -> NDArray[Any]:
    """The values of one feature; appends to `faults` what does not fit."""
    text = feature.categories is not None
    nulls = {*null_values, *map(_number, null_values)} - {None}
    column = np.full(len(rows), None if text else np.nan, dtype=object if text else np.float64)
    for number, row in enumerate(rows):
        value = row.get(feature.column)
        if value is None or value in nulls:
            continue
        try:
            column[number] = cell(value, feature)
        except ValueError as error:
            faults.append(FieldError(json_pointer("rows", number, feature.column), str(error)))
    return column


def _number(text: str) -> float | None:
    """A null value such as "-999" as a number, else None."""
    try:
        return float(text)
    except ValueError:
        return None
