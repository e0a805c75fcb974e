"""The predictions that an ended job keeps: outputs of its best weights for its validation and test rows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from service.data.formats.prediction_table import PredictionSource, PredictionTable
from service.errors import TooLarge
from service.spec.limits import MAX_PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from service.data.preprocess.dataset import Prepared
    from service.domain.checkpoint import Checkpoint
    from service.spec.resolved import Resolved
    from service.training.scoring import BestEvaluation

CHUNK_VALUES = 2**20  # class probabilities at once, which are computed in float64


def best_predictions(
    evaluated: Callable[[], BestEvaluation], job: Resolved, data: Prepared, best: Checkpoint, job_id: str
) -> PredictionTable | None:
    """Predictions of a job's best weights, published as `best`; None without validation and test rows.

    Raises TooLarge if there are too many to be kept.
    """
    rows, classes = len(data.validation.y) + len(data.test.y), job.target.classes
    values = rows * max(len(classes or ()), 1)
    if values > MAX_PREDICTIONS:
        raise TooLarge(f"{rows:,} rows have {values:,} values, and at most {MAX_PREDICTIONS:,} are kept")
    if not rows:
        return None
    found = evaluated()
    source = PredictionSource(
        job=job_id,
        epoch=best.epoch,
        sha256=best.sha256,
        task=job.spec.task,
        target=job.target.column,
        classes=classes,
    )
    return prediction_table(source, data, (found.validation, found.test))


def prediction_table(source: PredictionSource, data: Prepared, outputs: tuple[Tensor, Tensor]) -> PredictionTable:
    """`outputs` (N, outputs) for the validation and for the test rows as predictions in terms of the data."""
    parts = data.validation, data.test
    row = np.concatenate([_known(rows.row) for rows in parts])
    validation_rows = len(data.validation.y)
    if source.classes is None:
        numbers = data.preprocessing.unstandardize(np.concatenate([each[:, 0].numpy() for each in outputs]))
        truth = np.concatenate([_known(rows.truth) for rows in parts])
        return PredictionTable(source, row, validation_rows, truth, numbers, None)
    classes = np.concatenate([rows.y for rows in parts]).astype(np.int64)
    probabilities = np.empty((len(row), len(source.classes)), np.float32)
    prediction = np.empty(len(row), np.int64)
    step = max(1, CHUNK_VALUES // len(source.classes))
    start = 0
    for chunk in chain.from_iterable(torch.split(each, step) for each in outputs):
        shares = torch.softmax(chunk.double(), dim=1)
        probabilities[start : start + len(chunk)] = shares.float().numpy()
        prediction[start : start + len(chunk)] = shares.argmax(dim=1).numpy()
        start += len(chunk)
    return PredictionTable(source, row, validation_rows, classes, prediction, probabilities)


def _known(values: NDArray[Any] | None) -> NDArray[Any]:
    assert values is not None, "validation and test rows have it"
    return values
