"""Points of a sweep with the values of all changed fields, from the specs of their jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from service.spec.sweep import path_of
from service.store import sweep_results
from service.store.schema import jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection


@dataclass(frozen=True)
class PointValues:
    """A point and its value."""

    fields: dict[str, Any]
    """By dotted name: the value of each field that any point changes; without those that this point's spec lacks, as
    `optimizer.momentum` without SGD."""
    value: float
    """Mean of the monitored metric over its jobs, each at its best epoch."""


def point_values(connection: Connection, sweep_id: str, most: int) -> tuple[list[str], list[PointValues]]:
    """(changed fields, at most `most` points with a value, spread evenly, in order of submission); raises NotFound."""
    found = [(point, rows) for point, rows in sweep_results.points(connection, sweep_id)]
    names = dict.fromkeys(name for point, _ in found for name in point.point)
    means = {
        min(row.job for row in rows): point.value.mean
        for point, rows in found
        if point.value is not None and point.value.mean is not None
    }
    ids = sorted(means)
    taken = ids if len(ids) <= most else [ids[index * len(ids) // most] for index in range(most)]
    rows = connection.execute(select(jobs.c.id, jobs.c.spec).where(in_tenant(connection, jobs), jobs.c.id.in_(taken)))
    specs = {row.id: row.spec for row in rows}
    return list(names), [PointValues(dict(_fields(specs[job], names)), means[job]) for job in taken if job in specs]


def _fields(spec: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = spec
        for part in path_of(name):
            if not isinstance(value, dict) or part not in value:
                break
            value = value[part]
        else:
            yield name, value
