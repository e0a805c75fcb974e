"""Retraining of a job for its report: with fewer training rows, and without columns, as points of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.spec.data import DatasetData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.spec.job import JobSpec

FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Shares of the training rows of a learning curve."""
DRAWS = 3
"""Jobs of each share and of each column that is left out."""
MAX_COLUMNS = 10
"""Columns that are left out one by one."""
FRACTION, TRAIN_SEED, SEED, FEATURES = "split.train_fraction", "split.train_seed", "seed", "data.features"
"""The fields that retraining changes."""
MAX_SEED = 2**32


def base_of_retraining(spec: JobSpec, job_id: str) -> JobSpec:
    """The base of the sweep: the job's spec with all training rows."""
    split = spec.split.model_copy(update={"train_fraction": None, "train_seed": None})
    return spec.model_copy(update={"name": f"Retraining of {job_id}", "labels": {}, "split": split})


def learning_curve_points(base: JobSpec, fraction: float) -> list[dict[str, Any]]:
    """The changes of each draw of a share of the training rows; draws also differ in their initial weights."""
    return [{FRACTION: fraction, TRAIN_SEED: draw, **seed} for draw, seed in enumerate(_seeds(base))]


def drop_column_points(base: JobSpec, column: str) -> list[dict[str, Any]]:
    """The changes of each draw without a column, with the seeds of the draws of all training rows."""
    assert isinstance(base.data, DatasetData)
    rest = [name for name in base.data.features or () if name != column]
    return [{FEATURES: rest, **seed} for seed in _seeds(base)]


def _seeds(base: JobSpec) -> Iterator[dict[str, int]]:
    for draw in range(DRAWS):
        yield {SEED: (base.seed + draw) % MAX_SEED}
