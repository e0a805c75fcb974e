"""Rows to try an export on: real ones where there are any."""

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
    from service.training.checkpoint import Checkpoint

ROWS = 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_for(checkpoint: Checkpoint, parquet: Path | None) -> list[dict[str, Any]]:
    """By column name: the first of what it was trained on, or made-up ones where its data set is deleted."""
    data, features = checkpoint.spec.data, checkpoint.preprocessing.features
    if isinstance(data, InlineData):
        return [{f"x{i}": value for i, value in enumerate(row)} for row in data.x[:ROWS]]
    if isinstance(data, SyntheticData):
        columns = synthetic(data).columns
        return [{feature.column: float(columns[feature.column][row]) for feature in features} for row in range(ROWS)]
    if parquet is not None:
        return first_rows(parquet, ROWS)
    return [{feature.column: made_up(feature, row) for feature in features} for row in range(ROWS)]


def made_up(feature: FittedFeature, row: int) -> str | float:
    """A value that might stand in the column, another one in each row: within two deviations of the mean."""
    if feature.categories is not None:
        return feature.categories[row % len(feature.categories)]
    steps = (row * 7 % 17 - 8) / 4 if row else 0.0
    value = feature.fill + steps * (feature.scale if feature.knots is None else feature.knots[0][-1] - feature.fill)
    if feature.type is ColumnType.datetime:
        return (EPOCH + timedelta(seconds=round(feature.origin + 86_400 * value))).isoformat()
    return float(f"{value:.4g}") if feature.type is not ColumnType.boolean else float(row % 2)
