"""Inputs of an export of a job's network or of a version, apart from its weights."""

from __future__ import annotations

from pathlib import Path

from service.domain.checkpoint import CheckpointFormat
from service.domain.job import Job
from service.domain.model import ModelVersion
from service.spec.base import FrozenModel
from service.spec.table import Dataset


class ExportedJob(FrozenModel):
    """A job whose network is exported, for the documents of a bundle."""

    job: Job
    dataset: Dataset | None  # None: no data set, or deleted
    history: Path  # every epoch as CSV


class Export(FrozenModel):
    """Inputs of an export."""

    format: CheckpointFormat
    of: ExportedJob | ModelVersion
    calibrated: bool  # whether probabilities are those that the service answers by default
    tables: dict[str, Path]  # Parquet files of the training data by id of the data set, as far as they exist
