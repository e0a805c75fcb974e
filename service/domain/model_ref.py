"""A model to predict with: checkpoints and their weights in the average."""

from __future__ import annotations

from typing import NamedTuple

from service.domain.prediction import ModelCalibration


class Member(NamedTuple):
    """A checkpoint of a model."""

    path: str
    """The absolute path of its file."""
    sha256: str
    """SHA-256 of the file."""
    weight: float = 1.0
    """Its weight in the average, above 0; weights need not add up to 1."""
    predictions: tuple[str, str] | None = None
    """Absolute path and SHA-256 of its kept predictions, which calibrate the model; None if there are none."""
    data: str | None = None
    """What tells its data from those of other members; None where all members have the same."""


class ModelRef(NamedTuple):
    """The weighted average of the predictions of checkpoints with the same target; a job's model has one member."""

    members: tuple[Member, ...]
    calibration: ModelCalibration | None = None
    """How a version of a model is calibrated for good; None: by the kept predictions, as they are now."""
