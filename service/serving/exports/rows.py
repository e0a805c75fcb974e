"""Sample rows on which an export is checked: real ones if there are any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from service.data.preprocess.sources import synthetic
from service.data.processes.preview import first_rows
from service.spec.data import InlineData, SyntheticData
from service.spec.table import ColumnType

if TYPE_CHECKING:
    from pathlib import Path

    from service.data.preprocess.features import FittedFeature
    from service.training.checkpoint import LoadedCheckpoint

ROWS = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_for(checkpoint: LoadedCheckpoint, parquet: Path | None) -> list[dict[str, Any]]:
    """Rows by column name: the first ones of the training data, or synthetic ones if its data set is deleted."""
    data, features = checkpoint.spec.data, checkpoint.preprocessing.features
    if isinstance(data, InlineData):
        return [{f"x{i}": value for i, value in enumerate(row)} for row in data.x[:ROWS]]
    if isinstance(data, SyntheticData):
        columns = synthetic(data).columns
        return [{feature.column: float(columns[feature.column][row]) for feature in features} for row in range(ROWS)]
    if parquet is not None:
        return first_rows(parquet, ROWS)
    return [{feature.column: synthetic_value(feature, row) for feature in features} for row in range(ROWS)]


def synthetic_value(feature: FittedFeature, row: int) -> str | float:
    """A plausible value of the column, different in each row: within two standard deviations of the mean."""
    if feature.categories is not None:
        return feature.categories[row % len(feature.categories)] if feature.categories else ""
    steps = (row * 7 % 17 - 8) / 4 if row else 0.0
    value = feature.fill + steps * (feature.scale if feature.knots is None else feature.knots[0][-1] - feature.fill)
    if feature.type is ColumnType.datetime:
        return (EPOCH + timedelta(seconds=round(feature.origin + 86_400 * value))).isoformat()
    return float(f"{value:.4g}") if feature.type is not ColumnType.boolean else float(row % 2)
