"""Measures drift: new rows compared with the profile of a version's training rows, and predicted. Needs torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats.prediction_table import class_names
from service.data.preprocess.preprocessing import Preprocessing, Table
from service.data.preprocess.sources import table_from_rows, table_from_staged
from service.domain.drift import DriftInputs
from service.domain.model_ref import Member
from service.domain.report import StoredFile
from service.drift.comparison import compared
from service.drift.findings import findings
from service.drift.predictions import NOT_FINITE, mean_outputs, prediction_columns
from service.drift.profile import Profile
from service.drift.replacement import as_in_training
from service.drift.report import ColumnDrift, DriftReport, MovedBy, PredictionMove
from service.drift.training import NOT_KEPT
from service.errors import CheckpointCorrupt, DatasetCorrupt
from service.reports.report import MissingSection
from service.serving.reports.columns import MAX_INPUTS, MAX_MULTIPLICATIONS
from service.serving.verified import check_sha256
from service.training.checkpoint import LoadedCheckpoint, from_bytes
from service.training.replaced_columns import ReplacedColumns, multiplications

SEED = 0
MAX_CELLS = 20_000_000
"""Values of new rows that are compared."""
MAX_PREDICTED = 5_000
MIN_PREDICTED = 500
"""Fewer rows are repeated, so that replaced columns have their shares."""
MAX_MOVED_BY = 10


def measure(asked: DriftInputs) -> DriftReport:
    """The drift of the new rows; equal inputs give an equal answer.

    Raises InvalidData with row and column of a wrong value, CheckpointCorrupt, DatasetCorrupt.
    """
    check_sha256(asked.profile, DatasetCorrupt("the profile of the training rows is missing or has changed"))
    profile = Profile.model_validate_json(asked.profile.path.read_bytes())
    table = _read(asked)
    total = max(1, len(profile.columns))
    columns = [compared(each, table.columns[each.column], total) for each in profile.columns]
    columns.sort(key=lambda each: -each.psi)
    missing = []
    if profile.no_columns is not None:
        missing.append(MissingSection(section="columns", reason=profile.no_columns))
    predicted, predictions, moved = 0, list[ColumnDrift](), None
    if profile.predictions:
        predicted, predictions, moved = _predictions(asked.model.members, profile, table, columns)
        if moved is None:
            missing.append(MissingSection(section="moved", reason=NOT_FINITE))
    else:
        reason = profile.no_predictions or NOT_KEPT
        missing += [MissingSection(section=name, reason=reason) for name in ("predictions", "moved")]
    report = DriftReport(
        rows=table.rows if asked.staged_rows is None else asked.staged_rows,
        compared_rows=table.rows,
        predicted_rows=predicted,
        training_rows=profile.rows,
        findings=[],
        columns=columns,
        predictions=predictions,
        moved=moved,
        missing=missing,
    )
    return report.model_copy(update={"findings": findings(report)})


def _read(asked: DriftInputs) -> Table:
    preprocessing = Preprocessing.model_validate_json(asked.preprocessing)
    if asked.staged_rows is None:
        return table_from_rows(json.loads(asked.source.read_bytes()), preprocessing)
    step = -(-asked.staged_rows * len(preprocessing.features) // MAX_CELLS)
    return table_from_staged(asked.source.parent, preprocessing, range(0, asked.staged_rows, max(1, step)))


def _predictions(
    members: Sequence[Member], profile: Profile, table: Table, columns: Sequence[ColumnDrift]
) -> tuple[int, list[ColumnDrift], PredictionMove | None]:
    """How many rows were predicted, the drift of the predictions, and what moved them; None if means are infinite."""
    checkpoints = [_checkpoint(member) for member in members]
    target = checkpoints[0].preprocessing.target
    names = None if target.classes is None else class_names(target.classes)
    drifted = [each.column for each in columns if each.drift != "none"][:MAX_MOVED_BY]
    rng = np.random.default_rng(SEED)
    rows = _sample(table.rows, _most(checkpoints, 1 + len(drifted)), rng)
    sampled = Table({name: values[rows] for name, values in table.columns.items()}, len(rows))
    predict = _Average(checkpoints, [member.weight for member in members], sampled)
    outputs = predict({})
    once = outputs[: table.rows]
    found = prediction_columns(once, names)
    predictions = [compared(each, found[each.column], len(profile.predictions)) for each in profile.predictions]
    by_name = {each.column: each for each in profile.columns}
    mean = np.array(mean_outputs(outputs))
    moved = []
    for name in drifted:
        replaced = as_in_training(by_name[name], sampled.columns[name], rng)
        with np.errstate(over="ignore", invalid="ignore"):
            change = mean - np.array(mean_outputs(predict({name: replaced})))
        moved.append(MovedBy(column=name, change=change.tolist()))
    moved.sort(key=lambda each: -max(map(abs, each.change)))
    means = mean_outputs(once)
    if not np.isfinite([means, *(each.change for each in moved)]).all():
        return len(once), predictions, None
    outputs_named = names or [target.column]
    move = PredictionMove(outputs=outputs_named, training=profile.means, rows=means, by=moved)
    return len(once), predictions, move


def _most(checkpoints: Sequence[LoadedCheckpoint], calls: int) -> int:
    """How many rows can be predicted so often in some ten seconds of one core, and kept as inputs."""
    cost = calls * sum(max(1, multiplications(each.graph)) for each in checkpoints)
    width = sum(each.graph.layout.numbers + len(each.graph.layout.categories) for each in checkpoints)
    return max(1, min(MAX_PREDICTED, int(MAX_MULTIPLICATIONS / cost), MAX_INPUTS // max(1, width)))


def _sample(rows: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of the rows, in order; all of them first, then again, where there are few."""
    if rows > most:
        return np.sort(rng.choice(rows, most, replace=False))
    return np.tile(np.arange(rows), max(1, min(most, MIN_PREDICTED) // rows))


class _Average:
    """The weighted average of the members' predictions for the same rows, with some columns replaced."""

    def __init__(self, checkpoints: Sequence[LoadedCheckpoint], weights: Sequence[float], table: Table) -> None:
        self._members = [ReplacedColumns(each, table) for each in checkpoints]
        self._weights = [weight / sum(weights) for weight in weights]

    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(N, classes) probabilities, or (N, 1) numbers."""
        found = sum(weight * each(columns) for weight, each in zip(self._weights, self._members, strict=True))
        outputs: NDArray[np.float64] = np.asarray(found)
        return outputs[:, None] if outputs.ndim == 1 else outputs


def _checkpoint(member: Member) -> LoadedCheckpoint:
    path = Path(member.path)
    check_sha256(StoredFile(path, member.sha256), CheckpointCorrupt("the checkpoint's file is missing or has changed"))
    return from_bytes(path.read_bytes())
