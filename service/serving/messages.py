"""What prediction helpers return: light types, because the API imports neither torch nor NumPy."""

from __future__ import annotations

from typing import Any, NamedTuple

from service.domain.prediction import AppliedCalibration
from service.errors import ServiceError

Answer = dict[str, Any]


class Applied(NamedTuple):
    """The numbers that calibrate predictions, and their description."""

    temperature: float
    """The temperature of probabilities; 1: they stay raw."""
    quantile: float | None
    """The conformal quantile of intervals or sets; None without them."""
    description: AppliedCalibration | None
    """What is said about it; None where nothing was to be calibrated."""


class Batch(NamedTuple):
    """Predictions for the requests that were made together."""

    answers: list[list[Answer] | ServiceError]
    """For each request, an answer per row, or an error of its rows."""
    calibration: AppliedCalibration | None
    """How they are calibrated."""
    seconds: float
    """The time that it took, without loading."""


class PredictionSchema(NamedTuple):
    """What a model needs from a file of rows, for the process that ingests the file, and how it will predict them."""

    preprocessing: str
    """The model's preprocessing as JSON."""
    features: int
    """Number of its features."""
    columns: list[str]
    """The names of the values that it predicts for each row."""
    row_bytes: int
    """Bytes of these values."""
    applied: Applied
    """What calibrates all rows of the file."""
