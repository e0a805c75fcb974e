"""Results of a sweep: one row per job, and one row per point with mean and std over seeds and folds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from service.comparison.leaderboard import number_of_folds, with_comparisons
from service.comparison.paired_test import mean_of, standard_error
from service.domain.sweep import EpochSpread, Spread, SweepPoint, SweepResult
from service.errors import NotFound
from service.spec.early_stopping import Monitor
from service.store.schema import jobs, sweeps
from service.store.sweeps import BEST_FIRST, VALUE
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row


REPLICATES = ("seed", "split.fold", "split.repeat", "split.train_seed")
"""Fields in which the jobs of a point differ."""


class Order(StrEnum):
    """Sort order of a sweep's jobs."""

    value = "value"
    submitted = "submitted"


_COLUMNS = [
    jobs.c.id.label("job"),
    jobs.c.epoch.label("epochs"),
    VALUE.label("value"),
    *(jobs.c[name] for name in ("status", "stop_reason", "point", "best_epoch", "best_metrics", "test_metrics")),
    *(jobs.c[name] for name in ("started_at", "finished_at")),
]


def results(
    connection: Connection,
    sweep_id: str,
    *,
    order: Order = Order.value,
    limit: int | None = None,
    offset: int = 0,
) -> list[SweepResult]:
    """The sweep's jobs from `offset` on, best first (those without a value last) or as submitted.

    Raises NotFound.
    """
    _compared_by(connection, sweep_id)
    query = (
        select(*_COLUMNS)
        .join(sweeps, sweeps.c.id == jobs.c.sweep_id)
        .where(in_tenant(connection, jobs, sweeps), sweeps.c.id == sweep_id)
        .order_by(*(BEST_FIRST if order is Order.value else [jobs.c.id]))
    )
    return [_result(row) for row in connection.execute(query.limit(limit).offset(offset))]


def summary(connection: Connection, sweep_id: str) -> list[SweepPoint]:
    """The sweep's points compared with the best, best mean first, those without a value last; raises NotFound."""
    by = _compared_by(connection, sweep_id)
    rows = results(connection, sweep_id, order=Order.submitted)
    groups = grouped(rows, larger_is_better=by.monitor.larger_is_better, folds=by.folds)
    return with_comparisons(groups, larger_is_better=by.monitor.larger_is_better, folds=by.folds)


def points(connection: Connection, sweep_id: str) -> list[tuple[SweepPoint, list[SweepResult]]]:
    """The sweep's points with their jobs, best mean first, those without a value last; raises NotFound."""
    by = _compared_by(connection, sweep_id)
    rows = results(connection, sweep_id, order=Order.submitted)
    return grouped(rows, larger_is_better=by.monitor.larger_is_better, folds=by.folds)


def grouped(
    rows: Iterable[SweepResult], *, larger_is_better: bool, folds: int | None = None
) -> list[tuple[SweepPoint, list[SweepResult]]]:
    """Group jobs that differ only in seed, fold and repeat; best mean first. `folds`: those of the base spec."""
    groups: dict[str, list[SweepResult]] = {}
    for row in rows:
        groups.setdefault(json.dumps(without_replicates(row.point), sort_keys=True), []).append(row)

    def sort_key(found: tuple[SweepPoint, list[SweepResult]]) -> tuple[bool, float]:
        mean = None if found[0].value is None else found[0].value.mean
        return (True, 0.0) if mean is None else (False, -mean if larger_is_better else mean)

    return sorted(((_point(group, folds), group) for group in groups.values()), key=sort_key)


@dataclass(frozen=True)
class _ComparedBy:
    """What the jobs of a sweep are compared by."""

    monitor: Monitor
    folds: int | None
    """Number of folds in the base spec."""


def _compared_by(connection: Connection, sweep_id: str) -> _ComparedBy:
    query = select(sweeps.c.monitor, sweeps.c.spec[("base", "split")].as_json().label("split"))
    row = connection.execute(query.where(in_tenant(connection, sweeps), sweeps.c.id == sweep_id)).first()
    if row is None:
        raise NotFound(f"no sweep {sweep_id!r}")
    return _ComparedBy(Monitor(row.monitor), (row.split or {}).get("folds"))


def _result(row: Row[Any]) -> SweepResult:
    fields = dict(row._mapping)
    started, finished = fields.pop("started_at"), fields.pop("finished_at")
    metrics = fields.pop("best_metrics") or {}
    seconds = (finished - started).total_seconds() if started and finished else None
    return SweepResult(**fields, metrics=metrics, seconds=seconds)


def without_replicates(point: dict[str, Any]) -> dict[str, Any]:
    """The changes of a point that its jobs have in common."""
    return {name: value for name, value in point.items() if name not in REPLICATES}


def _point(rows: Sequence[SweepResult], folds: int | None) -> SweepPoint:
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    folds = number_of_folds(rows, folds)
    metrics = {name: _spread(((row.point, row.metrics.get(name)) for row in rows), folds) for name in names}
    epochs = [row.best_epoch for row in rows if row.best_epoch is not None]
    return SweepPoint(
        point=without_replicates(rows[0].point),
        jobs=len(rows),
        value=_spread(((row.point, row.value) for row in rows), folds),
        metrics={name: spread for name, spread in metrics.items() if spread is not None},
        best_epoch=EpochSpread(min=min(epochs), median=median(epochs), max=max(epochs)) if epochs else None,
    )


def _spread(found: Iterable[tuple[dict[str, Any], float | None]], folds: int | None) -> Spread | None:
    """Mean and std over jobs; with folds, over the folds' means: seeds on the same rows are not independent samples."""
    units: dict[Any, list[float]] = {}
    for index, (point, value) in enumerate(found):
        if value is not None:
            fold = point.get("split.fold")
            unit = -1 - index if fold is None else (point.get("split.repeat", 1), fold)
            units.setdefault(unit, []).append(value)
    values = [mean_of(unit) for unit in units.values()]
    if not values:
        return None
    n, mean = len(values), mean_of(values)
    # Not `**`, which raises OverflowError for huge floats; the product is infinite.
    std = math.sqrt(sum((v - mean) * (v - mean) for v in values) / (n - 1)) if n > 1 else None
    return Spread(
        n=n,
        mean=_finite(mean),
        std=None if std is None else _finite(std),
        standard_error=standard_error(values, folds),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
