"""Sample rows on which an export is checked: real ones if there are any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from service.data.preprocess.sources import synthetic
from service.data.processes.preview import first_rows
from service.spec.data import Data, DatasetData, InlineData, SyntheticData
from service.spec.table import ColumnType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from service.data.preprocess.features import FittedFeature
    from service.serving.exports.model import Rows, TrainedModel

ROWS = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_for(model: TrainedModel, tables: Mapping[str, Path]) -> Rows:
    """Rows by column name: the first ones of the training data of each member, or synthetic ones.

    `tables`: Parquet files of the data sets that are not deleted, by id. Columns that only other members read have
    synthetic values.
    """
    features = model.preprocessing.features
    sources = list[Data]()
    for checkpoint in model.checkpoints:
        if not any(_same_rows(checkpoint.spec.data, each) for each in sources):
            sources.append(checkpoint.spec.data)
    return [
        {f.column: row[f.column] if f.column in row else synthetic_value(f, number) for f in features}
        for source in sources
        for number, row in enumerate(_first_rows(source, tables))
    ]


def _same_rows(one: Data, other: Data) -> bool:
    if isinstance(one, DatasetData) and isinstance(other, DatasetData):
        return one.id == other.id
    return one == other


def _first_rows(data: Data, tables: Mapping[str, Path]) -> Rows:
    """The first rows of the data; rows without columns if its data set is deleted."""
    if isinstance(data, InlineData):
        return [{f"x{i}": value for i, value in enumerate(row)} for row in data.x[:ROWS]]
    if isinstance(data, SyntheticData):
        columns = synthetic(data).columns
        return [{name: float(values[row]) for name, values in columns.items()} for row in range(min(ROWS, data.rows))]
    path = tables.get(data.id)
    return [{}] * ROWS if path is None else first_rows(path, ROWS)


def synthetic_value(feature: FittedFeature, row: int) -> str | float:
    """A plausible value of the column, different in each row: within two standard deviations of the mean."""
    if feature.categories is not None:
        return feature.categories[row % len(feature.categories)] if feature.categories else ""
    steps = (row * 7 % 17 - 8) / 4 if row else 0.0
    value = feature.fill + steps * (feature.scale if feature.knots is None else feature.knots[0][-1] - feature.fill)
    if feature.type is ColumnType.datetime:
        return (EPOCH + timedelta(seconds=round(feature.origin + 86_400 * value))).isoformat()
    return float(f"{value:.4g}") if feature.type is not ColumnType.boolean else float(row % 2)
