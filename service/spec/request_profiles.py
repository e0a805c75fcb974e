"""Profiles of tables that a job spec holds itself: synthetic data and inline rows."""

from __future__ import annotations

import math
from collections import Counter

from service.spec.data import InlineData, SyntheticData
from service.spec.table import MAX_VALUES, Column, ColumnType, TableProfile, Value, ValueCount


def synthetic_profile(data: SyntheticData) -> TableProfile:
    """The profile of synthetic data, known without generating it: x0, x1, ... and the classes in y."""
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
    """The profile of inline rows."""
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
