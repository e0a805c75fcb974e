"""Metrics of several API processes as one text: each sample has a label `process`, its process's number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def families_of(registry: CollectorRegistry) -> list[Any]:
    """The current values, as JSON."""
    return [
        [each.name, each.documentation, each.type, [[one.name, one.labels, one.value] for one in each.samples]]
        for each in registry.collect()
    ]


def merged(by_process: Mapping[str, list[Any]]) -> bytes:
    """The families of all processes in Prometheus's text format."""
    found: dict[str, Metric] = {}
    for process, families in sorted(by_process.items()):
        for name, documentation, kind, samples in families:
            metric = found.setdefault(name, Metric(name, documentation, kind))
            for sample, labels, value in samples:
                metric.add_sample(sample, {**labels, "process": process}, value)
    registry = CollectorRegistry()
    registry.register(_Families(found.values()))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families
