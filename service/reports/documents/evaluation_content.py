"""An evaluation on new rows as a document, with the sections that reports have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents import metrics_content
from service.reports.documents.blocks import Callout, Document, Section, Table
from service.reports.documents.content import missing_section, slices_section, worst_section
from service.reports.findings import LOSSES
from service.reports.text import estimate

if TYPE_CHECKING:
    from service.reports.documents.blocks import Block
    from service.reports.evaluation import Evaluation, Results
    from service.reports.sections.estimate import Estimate


def evaluation_document(found: Evaluation) -> Document:
    """The whole document."""
    model = f"Version {found.version} of {found.model}"
    subtitle = f"{model}, measured on {found.rows:,} new rows with a label."
    sections = [_comparison(found)]
    if found.classification is not None:
        sections += metrics_content.classification(found.classification)
    if found.regression is not None:
        sections += metrics_content.regression(found.regression)
    calibrated = metrics_content.calibration(found.classification, None, found.conformal)
    sections += [] if calibrated is None else [calibrated]
    if found.slices is not None:
        sections.append(slices_section(found.slices, found.time_columns))
    sections.append(worst_section(found.worst, found.loss, found.time_columns, "in the rows given"))
    sections += missing_section(found.missing)
    findings: list[Block] = [Callout(each.level, each.text) for each in found.findings]
    title = f"Evaluation of {found.model}: {found.task.value} of {found.target}"
    return Document(title, subtitle, findings, sections, footer=f"{found.model}, version {found.version}")


def _comparison(found: Evaluation) -> Section:
    before = found.compared_with
    head = ["Metric", f"These {found.rows:,} rows"]
    head += [] if before is None else [f"{before.rows:,} {before.part} rows of training"]
    columns = [_metrics(found, found)] + ([] if before is None else [_metrics(before, found)])
    rows = [(name, *(estimate(column[name]) for column in columns)) for name in columns[0]]
    return Section("Beside the rows held out in training", [Table(tuple(head), rows)])


def _metrics(results: Results, found: Evaluation) -> dict[str, Estimate]:
    loss = LOSSES[found.loss]
    metrics = {f"{loss[0].upper()}{loss[1:]}": results.value}
    if results.classification is not None:
        named = ("accuracy", "balanced_accuracy", "roc_auc", "brier_score")
        names = ("Accuracy", "Balanced accuracy", "ROC AUC", "Brier score")
        metrics |= {name: getattr(results.classification, each) for name, each in zip(names, named, strict=True)}
    if results.regression is not None:
        named = ("rmse", "mae", "r2", "mean_residual")
        names = ("RMSE", "Mean absolute error", "R²", "Mean residual")
        metrics |= {name: getattr(results.regression, each) for name, each in zip(names, named, strict=True)}
    return metrics
