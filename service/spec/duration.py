"""Estimated training time on one core of a CPU, before anything runs. Pure Python.

The constants were measured by benchmarks/duration.py on one machine; others are faster or slower by a constant factor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.spec.resolved import Resolved

EPOCH_SECONDS = 2.7e-3  # of an array, whatever its size
STEP_SECONDS = 20e-6  # of a training step for each layer: the calls, which the jobs of an array share
JOB_STEP_SECONDS = 2.8e-6  # of a training step for each layer and job
PRODUCT_SECONDS = 0.05e-9  # for each weight and row: a product forward and two backward
VALUE_SECONDS = 1.3e-9  # for each activation value
UPDATE_SECONDS = 6.5e-9  # of the optimizer, for each parameter and step
VALIDATION = 0.3  # a validation row's share of the time of a training row
START_SECONDS = 0.15  # of an array: its claim, its rows, its files


def array_seconds(jobs: Sequence[Resolved], epochs: int | None = None) -> float:
    """Seconds to train these jobs, which are alike, as one array: each for `epochs` epochs, or for all of its own."""
    steps = max(job.steps_per_epoch for job in jobs)
    longest = epochs or max(job.spec.max_epochs for job in jobs)
    shared = (EPOCH_SECONDS + steps * len(jobs[0].layers) * STEP_SECONDS) * longest
    return START_SECONDS + shared + sum(_epoch_seconds(job) * (epochs or job.spec.max_epochs) for job in jobs)


def _epoch_seconds(job: Resolved) -> float:
    """An epoch of one job of an array, without what the array shares."""
    graph, steps = job.graph, job.steps_per_epoch
    products = sum(node.layer.parameters * graph.copies[node.inputs[0]] for node in graph.nodes)
    row = products * PRODUCT_SECONDS + graph.values_held * VALUE_SECONDS
    step = len(graph.nodes) * JOB_STEP_SECONDS + graph.parameters * UPDATE_SECONDS
    return (job.rows.train + VALIDATION * job.rows.validation) * row + steps * step


def arrays_of(jobs: Iterable[Resolved]) -> list[list[Resolved]]:
    """The arrays that these jobs fit into, as few as memory allows; a worker's array width may make more of them."""
    alike: dict[str, list[Resolved]] = {}
    for job in jobs:
        alike.setdefault(job.shape_key, []).append(job)
    arrays = []
    for own in alike.values():
        most = max(1, min(job.array_limit for job in own))
        row_sets = min(job.row_sets for job in own)
        current: list[Resolved] = []
        keys: set[str] = set()
        for job in own:
            if len(current) == most or (job.array_key not in keys and len(keys) == row_sets):
                arrays.append(current)
                current, keys = [], set()
            current.append(job)
            keys.add(job.array_key)
        arrays.append(current)
    return arrays
