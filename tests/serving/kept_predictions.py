"""Files of kept predictions for models of tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.artifacts import sha256_of
from service.data.formats.prediction_table import PredictionSource, PredictionTable, to_bytes
from service.domain.model_ref import Member, ModelRef
from service.reports.temperature import apply_temperature
from service.spec.job import Task
from service.spec.table import Value


def drawn(rows: int, classes: int, temperature: float, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """(truth, probabilities) that are right once their logits are divided by the temperature."""
    random = np.random.default_rng(seed)
    right = random.dirichlet(np.ones(classes), rows)
    truth = (right.cumsum(1) > random.random((rows, 1))).argmax(1)
    return truth, apply_temperature(right, 1.0 / temperature)


def keep(
    path: Path | str,
    truth: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[Value] | None,
    *,
    row: NDArray[Any] | None = None,
    weight: float = 1.0,
) -> Member:
    """A member with these predictions, all of validation rows, beside its checkpoint `path`."""
    path = Path(path)
    task = Task.regression if classes is None else Task.classification
    source = PredictionSource(
        job="job_1",
        epoch=1,
        sha256=sha256_of(path),
        task=task,
        target="y",
        classes=None if classes is None else (*classes,),
    )
    rows = np.arange(len(truth)) if row is None else row
    if classes is None:
        table = PredictionTable(source, rows, len(rows), truth, outputs, None)
    else:
        table = PredictionTable(source, rows, len(rows), truth, outputs.argmax(1), outputs.astype(np.float32))
    file = path.with_name(path.name + "-predictions")
    file.write_bytes(to_bytes(table))
    return Member(str(path), source.sha256, weight, (str(file), sha256_of(file)))


def model(*members: Member) -> ModelRef:
    return ModelRef(members)
