"""Builds the report on a job: from its predictions, and from its columns where they can be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionTable
from service.domain.report import ReportInputs
from service.errors import CheckpointCorrupt, Conflict, PredictionsCorrupt
from service.reports import conformal
from service.reports.baselines import compare
from service.reports.booleans import effects_with_booleans, slices_with_booleans
from service.reports.classification import classification_section
from service.reports.findings import findings
from service.reports.regression import regression_section
from service.reports.regression_losses import SQUARED, RegressionLoss
from service.reports.report import EvaluatedRows, MissingSection, Report
from service.reports.rows import Truth
from service.reports.sections.baselines import Baselines
from service.reports.sections.calibration import ConformalCoverage
from service.reports.sections.effects import Effects
from service.reports.sections.importance import Importance
from service.reports.sections.slices import SlicesSection
from service.reports.slices import find_slices
from service.serving.calibration import Calibration, calibrate
from service.serving.reports.columns import importance_and_effects, sampled_rows
from service.serving.reports.rows import JobRows, read_rows
from service.serving.reports.worst import worst
from service.serving.verified import check_sha256
from service.spec.loss import AbsoluteError, Huber, Poisson, QuantileLoss
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint, from_bytes

LEVELS = (0.8, 0.9, 0.95)
"""Of conformal coverage."""
MAX_NUMBER = 1e60
"""Of targets and predictions: the squares of squared errors of larger ones are beyond the range of float64."""


@dataclass
class _ColumnSections:
    """The sections that need columns, as far as they could be made."""

    baselines: Baselines | None = None
    importance: Importance | None = None
    effects: Effects | None = None
    slices: SlicesSection | None = None
    missing: list[MissingSection] = field(default_factory=list)

    def leave_out(self, reason: str, *sections: str) -> None:
        self.missing += [MissingSection(section=section, reason=reason) for section in sections]


def build(asked: ReportInputs) -> Report:
    """The report; equal inputs give an equal one.

    Raises PredictionsCorrupt, CheckpointCorrupt, DatasetCorrupt; Conflict if no prediction is finite.
    """
    check_sha256(asked.predictions, PredictionsCorrupt("the file of predictions is missing or has changed"))
    predictions = prediction_table.read(asked.predictions.path)
    part = "test" if len(predictions.row) > predictions.validation_rows else "validation"
    predicted = predictions.only(part)
    evaluated = finite(predicted)
    names, outputs = class_names(evaluated), _outputs(evaluated)
    loss = _regression_loss(asked)
    truth = Truth(evaluated.truth, None if names is None else len(names), loss)
    losses = truth.row_losses(outputs)
    rows = read_rows(asked, evaluated, loss)
    found = _column_sections(asked, rows, outputs, losses, names or [evaluated.source.target])
    classified = None if names is None else classification_section(truth.values, outputs, names)
    regressed = regression_section(truth.values, outputs) if names is None else None
    validation = finite(predictions.only("validation"))
    calibration = calibrate(validation.truth, _outputs(validation))
    report = Report(
        job=predictions.source.job,
        epoch=predictions.source.epoch,
        checkpoint_sha256=predictions.source.sha256,
        task=predictions.source.task,
        target=predictions.source.target,
        loss=truth.loss,
        evaluated=EvaluatedRows(
            part=part,
            rows=len(losses),
            not_finite=len(predicted.row) - len(losses),
            training=None if isinstance(rows, str) else len(rows.train.truth.values),
            validation=predictions.validation_rows,
            test=len(predictions.row) - predictions.validation_rows,
        ),
        findings=[],
        classification=classified,
        regression=regressed,
        baselines=found.baselines,
        importance=found.importance,
        effects=found.effects,
        slices=found.slices,
        worst=worst(evaluated, losses, rows, asked.resolved, found.importance),
        temperature=calibration.temperature,
        conformal=_coverage(calibration, evaluated) if part == "test" else [],
        missing=found.missing,
        time_columns=_columns_of(asked, ColumnType.datetime),
    )
    return report.model_copy(update={"findings": findings(report)})


def finite(table: PredictionTable) -> PredictionTable:
    """The rows with finite predictions; raises Conflict if there are rows, but none of them has."""
    if table.probabilities is not None:
        return table
    kept = np.isfinite(table.prediction)
    if len(kept) and not kept.any():
        raise Conflict("no prediction of the job is finite")
    validation_rows = int(np.count_nonzero(kept[: table.validation_rows]))
    return PredictionTable(
        table.source, table.row[kept], validation_rows, table.truth[kept], table.prediction[kept], None
    )


def class_names(table: PredictionTable) -> list[str] | None:
    """The classes as text, booleans as `true` and `false`; None for regression."""
    if table.classes is None:
        return None
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in table.classes]


def _outputs(table: PredictionTable) -> NDArray[np.float64]:
    """(N, classes) probabilities, or (N,) numbers."""
    outputs: NDArray[Any] = table.prediction if table.probabilities is None else table.probabilities
    return outputs.astype(np.float64)


def _column_sections(
    asked: ReportInputs,
    rows: JobRows | str,
    outputs: NDArray[np.float64],
    losses: NDArray[np.float64],
    names: list[str],
) -> _ColumnSections:
    found = _ColumnSections()
    if isinstance(rows, str):
        found.leave_out(rows, "baselines", "importance", "effects", "slices")
        return found
    numbers = [outputs, *(part.truth.values for part in (rows.train, rows.validation, rows.evaluated))]
    if max(np.abs(each).max(initial=0) for each in numbers) > MAX_NUMBER:
        reason = f"targets or predictions beyond {MAX_NUMBER:g} are too large for squared errors"
        found.leave_out(reason, "baselines", "importance", "effects", "slices")
        return found
    found.baselines = compare(rows.train, rows.validation, rows.evaluated, outputs)
    booleans = _columns_of(asked, ColumnType.boolean)
    found.slices = slices_with_booleans(find_slices(rows.evaluated.columns, losses), booleans)
    checkpoint = _checkpoint(asked)
    sampled = sampled_rows(checkpoint, len(losses))
    if isinstance(sampled, str):
        found.leave_out(sampled, "importance", "effects")
    else:
        found.importance, effects = importance_and_effects(checkpoint, rows.evaluated, sampled, names)
        found.effects = effects_with_booleans(effects, booleans)
    return found


def _regression_loss(asked: ReportInputs) -> RegressionLoss:
    """What the job was trained for; squared errors if that is not known any more."""
    match None if asked.resolved is None else asked.resolved.spec.loss:
        case AbsoluteError():
            return RegressionLoss("mae")
        case QuantileLoss(q=q):
            return RegressionLoss("pinball", q)
        case Huber(delta=delta):
            return RegressionLoss("huber", delta * _checkpoint(asked).preprocessing.target.scale)
        case Poisson():
            return RegressionLoss("poisson_deviance")
        case _:
            return SQUARED


def _checkpoint(asked: ReportInputs) -> LoadedCheckpoint:
    check_sha256(asked.checkpoint, CheckpointCorrupt("the checkpoint's file is missing or has changed"))
    return from_bytes(asked.checkpoint.path.read_bytes())


def _coverage(calibration: Calibration, tested: PredictionTable) -> list[ConformalCoverage]:
    truth: NDArray[Any] = tested.truth
    scores = calibration.scores
    if tested.probabilities is None:
        return [conformal.interval_coverage(scores, level, truth, _outputs(tested)) for level in LEVELS]
    return [conformal.set_coverage(scores, level, truth, tested.probabilities) for level in LEVELS]


def _columns_of(asked: ReportInputs, kind: ColumnType) -> list[str]:
    features = () if asked.resolved is None else asked.resolved.features
    return [feature.column for feature in features if feature.type is kind]
