"""Builds the report on a job or a version: from kept predictions, and from columns where they can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats.prediction_table import class_names
from service.domain.report import ReportInputs
from service.reports import conformal
from service.reports.classification import classification_section
from service.reports.findings import findings
from service.reports.regression import regression_section
from service.reports.regression_losses import RegressionLoss
from service.reports.report import EvaluatedRows, Report, ReportMember, ReportSections, VersionReport
from service.reports.rows import Truth
from service.reports.sections.calibration import ConformalCoverage
from service.serving.calibration import Calibration, calibrate
from service.serving.reports.column_sections import column_sections, column_types, load_checkpoint
from service.serving.reports.held_out import HeldOutPredictions, held_out
from service.serving.reports.losses import regression_loss
from service.serving.reports.rows import read_rows
from service.serving.reports.worst import worst
from service.spec.table import ColumnType

LEVELS = (0.8, 0.9, 0.95)
"""Of conformal coverage."""


def build(asked: ReportInputs) -> ReportSections:
    """The Report on a job, or the VersionReport; equal inputs give an equal one.

    Raises PredictionsCorrupt, CheckpointCorrupt, DatasetCorrupt; Conflict if no prediction is finite.
    """
    predictions = held_out(asked.members)
    kept = predictions.table
    part = "test" if len(kept.row) > kept.validation_rows else "validation"
    predicted = predictions.only(part)
    evaluated, validation = predicted.finite, predictions.only("validation")
    complete = np.all(validation.weights > 0, axis=0)
    calibration = calibrate(validation.table.truth, validation.outputs, complete)
    names = None if kept.classes is None else class_names(kept.classes)
    loss, outputs = _regression_loss(asked), evaluated.outputs
    truth = Truth(evaluated.table.truth, None if names is None else len(names), loss)
    losses = truth.row_losses(outputs)
    rows = read_rows(asked, evaluated, loss)
    found = column_sections(asked, rows, evaluated, losses, names or [kept.source.target])
    columns, types = {} if isinstance(rows, str) else rows.evaluated.columns, column_types(asked)
    sections = {
        "task": kept.source.task,
        "target": kept.source.target,
        "loss": truth.loss,
        "evaluated": EvaluatedRows(
            part=part,
            rows=len(losses),
            not_finite=len(predicted.table.row) - len(losses),
            training=None if isinstance(rows, str) else rows.trained,
            validation=kept.validation_rows,
            test=len(kept.row) - kept.validation_rows,
        ),
        "findings": [],
        "classification": None if names is None else classification_section(truth.values, outputs, names),
        "regression": regression_section(truth.values, outputs) if names is None else None,
        **{name: getattr(found, name) for name in ("baselines", "importance", "effects", "slices", "missing")},
        "worst": worst(evaluated.table, losses, columns, types, found.importance),
        "temperature": calibration.temperature,
        "conformal": coverage(calibration, evaluated) if part == "test" else [],
        "time_columns": [name for name, kind in types.items() if kind is ColumnType.datetime],
    }
    report = _report(asked, predictions, sections)
    return report.model_copy(update={"findings": findings(report)})


def _report(asked: ReportInputs, kept: HeldOutPredictions, sections: dict[str, Any]) -> ReportSections:
    if asked.version is None:
        source = kept.table.source
        return Report(job=source.job, epoch=source.epoch, checkpoint_sha256=source.sha256, **sections)
    name, version = asked.version
    total = sum(member.weight for member in asked.members)
    members = [
        ReportMember(job=source.job, weight=member.weight / total, epoch=source.epoch, sha256=source.sha256)
        for member, source in zip(asked.members, kept.sources, strict=True)
    ]
    return VersionReport(model=name, version=version, members=members, **sections)


def _regression_loss(asked: ReportInputs) -> RegressionLoss:
    losses = [None if each.resolved is None else each.resolved.spec.loss for each in asked.members]
    return regression_loss(losses, lambda: load_checkpoint(asked.members[0]).preprocessing.target.scale)


def coverage(calibration: Calibration, tested: HeldOutPredictions) -> list[ConformalCoverage]:
    """Coverage of intervals or sets of classes on rows that did not calibrate them."""
    truth: NDArray[Any] = tested.table.truth
    scores = calibration.scores
    if tested.table.probabilities is None:
        return [conformal.interval_coverage(scores, level, truth, tested.outputs) for level in LEVELS]
    return [conformal.set_coverage(scores, level, truth, tested.table.probabilities) for level in LEVELS]
