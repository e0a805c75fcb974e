"""The order of an array's members in which it is fastest, and the size of their batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.training.row_sets import batch_sizes

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared
    from service.spec.resolved import Resolved


def array_order(jobs: Sequence[Resolved], data: Sequence[Prepared]) -> list[int]:
    """The order of members in which an array is fastest: those with batches of equal sizes are neighbours."""
    sets: dict[int, int] = {}
    keys = []
    for job, each in zip(jobs, data, strict=True):
        rows = len(each.train.y)
        sizes = batch_sizes(rows, batch_size(job, rows), job.spec.least_batch_rows)
        full = sum(size == sizes[0] for size in sizes)
        keys.append((full, sizes[-1], len(each.validation.y), sets.setdefault(id(each), len(sets))))
    return sorted(range(len(jobs)), key=keys.__getitem__)


def batch_size(job: Resolved, rows: int) -> int:
    """Rows of a full batch of a job with this many training rows."""
    size = job.spec.batch_size
    return rows if size == "full" else min(size, rows)
