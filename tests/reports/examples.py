"""Reports on random numbers, made without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports.baselines import compare
from service.reports.classification import classification_section
from service.reports.effects import column_effect
from service.reports.evaluation import Evaluation, HeldOutResults
from service.reports.evaluation_findings import evaluation_findings
from service.reports.findings import findings
from service.reports.importance import permutation_importance, permutations
from service.reports.regression import regression_section
from service.reports.report import (
    EvaluatedRows,
    MissingSection,
    Report,
    ReportMember,
    ReportSections,
    VersionReport,
    WorstRow,
    WorstRows,
)
from service.reports.rows import Columns, RowsOfPart, TrainingRows, Truth
from service.reports.sections.effects import Effects
from service.reports.sections.estimate import Estimate
from service.reports.slices import find_slices
from service.reports.temperature import fit_temperature
from service.spec.job import Task

ROWS = 60


def classification_report(
    classes: int = 2,
    *,
    column: str = "x",
    name: str = "yes",
    probabilities: NDArray[np.float64] | None = None,
) -> Report:
    """A classifier of ROWS rows with one column of numbers and one of texts."""
    rng = np.random.default_rng(classes)
    x, truth = rng.standard_normal(ROWS), rng.integers(0, classes, ROWS)

    def shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = np.outer(values, np.linspace(-1, 1, classes)) + 2 * np.eye(classes)[truth]
        powers = np.exp(logits)
        found: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
        return found

    outputs = shares(x) if probabilities is None else probabilities
    names = [name, *(f"class {place}" for place in range(1, classes))]
    columns: Columns = {column: x, "place": np.array(["a", name, None] * (ROWS // 3), dtype=object)}
    return _report(
        Truth(truth, classes),
        columns,
        outputs,
        lambda replaced: shares(replaced.get(column, x)) if probabilities is None else outputs,
        task=Task.classification,
        names=names,
        classification=classification_section(truth, outputs, names),
        temperature=fit_temperature(outputs, truth),
    )


def version_report(name: str = "churn", version: int = 1) -> VersionReport:
    """A version of two networks, with the sections of a classifier."""
    sections = {
        name: getattr(classification_report(), name) for name in ReportSections.model_fields if name != "object"
    }
    members = [ReportMember(job=f"job_{place}", weight=0.5, epoch=3, sha256="0" * 64) for place in (1, 2)]
    return VersionReport(model=name, version=version, members=members, **sections)


def evaluation(name: str = "churn", version: int = 1, *, regression: bool = False) -> Evaluation:
    """Of the rows of a report, compared with the same rows."""
    report = regression_report() if regression else classification_report()
    value = Estimate(value=0.5, low=0.4, high=0.6)
    results = {"rows": ROWS, "value": value, "classification": report.classification, "regression": report.regression}
    found = Evaluation(
        **results,
        model=name,
        version=version,
        task=report.task,
        target=report.target,
        loss=report.loss,
        unlabelled=1,
        not_finite=2,
        findings=[],
        difference=Estimate(value=0.0, low=-0.1, high=0.1),
        compared_with=HeldOutResults(part="test", **results),
        slices=report.slices,
        worst=report.worst,
        conformal=[],
        time_columns=[],
        missing=[MissingSection(section="conformal", reason="none were kept")],
    )
    return found.model_copy(update={"findings": evaluation_findings(found)})


def regression_report(*, columns: bool = True) -> Report:
    """A regression of ROWS rows."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, ROWS))
    report = _report(
        Truth(x + noise),
        {"x": x},
        x,
        lambda replaced: replaced.get("x", x),
        task=Task.regression,
        names=["y"],
        regression=regression_section(x + noise, x),
    )
    if columns:
        return report
    missing = [MissingSection(section="importance", reason="the data set was deleted")]
    without = {"baselines": None, "importance": None, "effects": None, "slices": None, "missing": missing}
    return report.model_copy(update=without)


def _report(
    truth: Truth, columns: Columns, outputs: NDArray[np.float64], predict: Any, *, names: list[str], **fields: Any
) -> Report:
    rows = RowsOfPart(columns, truth)
    losses = truth.row_losses(outputs)
    effects = [effect for name, values in columns.items() if (effect := column_effect(predict, name, values))]
    first = next(iter(columns))
    worst = WorstRow(row=3, truth=names[0], prediction=names[-1], probability=0.1, loss=2.3, values={first: names[0]})
    report = Report(
        job="job_1",
        epoch=3,
        checkpoint_sha256="0" * 64,
        target=first,
        loss=truth.loss,
        evaluated=EvaluatedRows(part="test", rows=ROWS, not_finite=0, training=ROWS, validation=ROWS, test=ROWS),
        findings=[],
        baselines=compare(rows, [TrainingRows(np.arange(ROWS), np.arange(ROWS), np.ones(ROWS))], rows, outputs),
        importance=permutation_importance(predict, columns, [[*columns]], truth, permutations(ROWS, 2, seed=0)),
        effects=Effects(outputs=names, rows=ROWS, columns=effects),
        slices=find_slices(columns, losses),
        worst=WorstRows(columns=[first], rows=[worst]),
        conformal=[],
        missing=[],
        time_columns=[],
        **{"classification": None, "regression": None, "temperature": None, **fields},
    )
    return report.model_copy(update={"findings": findings(report)})
