"""Evaluates a version of a model on new labelled rows, beside the rows that were held out in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats.prediction_table import PredictionSource, class_names
from service.domain.model_ref import Member
from service.domain.report import EvaluationInputs, ReportedMember, StoredFile
from service.errors import CheckpointCorrupt, Conflict
from service.reports.booleans import slices_with_booleans
from service.reports.classification import classification_section
from service.reports.evaluation import Evaluation, HeldOutResults
from service.reports.evaluation_findings import evaluation_findings
from service.reports.loss_intervals import LossIntervals, difference_of_samples
from service.reports.regression import regression_section
from service.reports.report import MissingSection
from service.reports.rows import Columns, Truth
from service.reports.sections.calibration import ConformalCoverage
from service.reports.slices import find_slices
from service.serving.calibration import calibrate
from service.serving.reports.build import coverage
from service.serving.reports.column_sections import MAX_NUMBER
from service.serving.reports.held_out import HeldOutPredictions, held_out
from service.serving.reports.labelled import LabelledRows, predict_labelled, read_labelled
from service.serving.reports.losses import regression_loss
from service.serving.reports.rows import MAX_COLUMNS
from service.serving.reports.worst import worst
from service.serving.verified import check_sha256
from service.serving.weighted_model import WeightedModel
from service.spec.layers import Convolution
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint, from_bytes
from service.training.inference import InferenceModel

NOT_BY_ALL = (
    "new rows are predicted by all members, validation rows only by those that were not trained on them: their losses "
    "differ without any change of the data"
)


@dataclass(frozen=True)
class _Measured:
    """Results with what they were computed from."""

    predictions: HeldOutPredictions
    losses: NDArray[np.float64]
    intervals: LossIntervals
    results: dict[str, Any]


@dataclass(frozen=True)
class _Before:
    """What is known of the rows that were held out in training; nothing without kept predictions."""

    results: HeldOutResults | None = None
    intervals: LossIntervals | None = None
    validation: HeldOutPredictions | None = None
    missing: tuple[MissingSection, ...] = ()


def evaluate(asked: EvaluationInputs) -> Evaluation:
    """The evaluation; equal inputs give an equal one.

    Raises InvalidData for a wrong value with row and column, and if no row has a label; CheckpointCorrupt,
    PredictionsCorrupt; Conflict if no prediction is finite.
    """
    members = asked.model.members
    checkpoints = [_load(member) for member in members]
    model = WeightedModel([InferenceModel(each) for each in checkpoints], [member.weight for member in members])
    fitted = model.preprocessing
    rows = read_labelled(asked, fitted)
    finite = predict_labelled(model, rows, _sources(members, checkpoints)).finite
    loss = regression_loss([each.spec.loss for each in checkpoints], lambda: fitted.target.scale)
    truth = Truth(finite.table.truth, None if fitted.target.classes is None else len(fitted.target.classes), loss)
    new, before = _measured(finite, truth), _before(asked, truth)
    columns, missing = _columns(rows, new, checkpoints), list(before.missing)
    types = {feature.column: feature.type for feature in fitted.features}
    slices = None
    if isinstance(columns, str):
        missing.append(MissingSection(section="slices", reason=columns))
    else:
        booleans = [name for name, kind in types.items() if kind is ColumnType.boolean]
        slices = slices_with_booleans(find_slices(columns, new.losses), booleans)
    name, version = asked.version
    found = Evaluation(
        **new.results,
        model=name,
        version=version,
        task=finite.table.source.task,
        target=fitted.target.column,
        loss=truth.loss,
        unlabelled=rows.unlabelled,
        not_finite=len(rows.row) - len(new.losses),
        findings=[],
        difference=None if before.intervals is None else difference_of_samples(new.intervals, before.intervals),
        compared_with=before.results,
        slices=slices,
        worst=worst(finite.table, new.losses, {} if isinstance(columns, str) else columns, types, None),
        conformal=_coverage(before.validation, finite),
        time_columns=[name for name, kind in types.items() if kind is ColumnType.datetime],
        missing=missing,
    )
    return found.model_copy(update={"findings": evaluation_findings(found)})


def _load(member: Member) -> LoadedCheckpoint:
    file = StoredFile(Path(member.path), member.sha256)
    check_sha256(file, CheckpointCorrupt("a checkpoint's file is missing or has changed"))
    return from_bytes(file.path.read_bytes())


def _sources(members: Sequence[Member], checkpoints: Sequence[LoadedCheckpoint]) -> list[PredictionSource]:
    return [
        PredictionSource(
            job="",
            epoch=checkpoint.epoch,
            sha256=member.sha256,
            task=checkpoint.spec.task,
            target=checkpoint.preprocessing.target.column,
            classes=checkpoint.preprocessing.target.classes,
        )
        for member, checkpoint in zip(members, checkpoints, strict=True)
    ]


def _measured(predictions: HeldOutPredictions, truth: Truth) -> _Measured:
    outputs, classes = predictions.outputs, predictions.table.classes
    losses = truth.row_losses(outputs)
    intervals = LossIntervals(truth, losses[:, None])
    results = {
        "rows": len(losses),
        "value": intervals.each()[0],
        "classification": None
        if classes is None
        else classification_section(truth.values, outputs, class_names(classes)),
        "regression": regression_section(truth.values, outputs) if classes is None else None,
    }
    return _Measured(predictions, losses, intervals, results)


def _before(asked: EvaluationInputs, new: Truth) -> _Before:
    """The results on the rows that the version's report is about."""
    try:
        if asked.no_comparison is not None:
            raise Conflict(asked.no_comparison)
        kept = held_out([_reported(member) for member in asked.model.members])
        part = "test" if len(kept.table.row) > kept.table.validation_rows else "validation"
        predictions = kept.only(part).finite
    except Conflict as error:
        missing = [MissingSection(section=name, reason=error.detail) for name in ("compared_with", "conformal")]
        return _Before(missing=tuple(missing))
    truth = Truth(predictions.table.truth, new.classes, new.regression_loss)
    measured = _measured(predictions, truth)
    results, validation = HeldOutResults(part=part, **measured.results), kept.only("validation")
    if not np.all(predictions.weights > 0):
        return _Before(results, None, validation, (MissingSection(section="difference", reason=NOT_BY_ALL),))
    return _Before(results, measured.intervals, validation)


def _reported(member: Member) -> ReportedMember:
    assert member.predictions is not None, "otherwise there is no comparison"
    path, sha256 = member.predictions
    checkpoint = StoredFile(Path(member.path), member.sha256)
    return ReportedMember(StoredFile(Path(path), sha256), checkpoint, weight=member.weight)


def _columns(rows: LabelledRows, new: _Measured, checkpoints: Sequence[LoadedCheckpoint]) -> Columns | str:
    """The feature columns of the rows that have results, or why slices are not looked for."""
    if any(isinstance(layer, Convolution) for each in checkpoints for layer in each.graph.layers):
        return "the network reads images or sequences, not columns"
    if len(rows.table.columns) > MAX_COLUMNS:
        return f"there are {len(rows.table.columns):,} columns, and at most {MAX_COLUMNS:,} are looked at"
    if max(np.abs(each).max(initial=0) for each in (new.predictions.outputs, new.predictions.table.truth)) > MAX_NUMBER:
        return f"targets or predictions beyond {MAX_NUMBER:g} are too large for squared errors"
    places = np.searchsorted(rows.row, new.predictions.table.row)
    return {name: values[places] for name, values in rows.table.columns.items()}


def _coverage(validation: HeldOutPredictions | None, tested: HeldOutPredictions) -> list[ConformalCoverage]:
    if validation is None or not len(validation.table.row):
        return []
    return coverage(calibrate(validation.table.truth, validation.outputs), tested)
