"""What a reader should know first about a network, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.reports.report import Finding, VersionReport
from service.reports.text import condition, estimate, number

if TYPE_CHECKING:
    from service.reports.report import ReportSections
    from service.reports.sections.baselines import Baseline, Baselines
    from service.reports.sections.importance import Loss
    from service.reports.sections.slices import SlicesSection

CONSTANTS = {"log_loss": "The class shares alone", "mae": "The median alone", "pinball": "The quantile alone"}
LINEAR = {"log_loss": "Logistic regression", "poisson_deviance": "Poisson regression"}
PLURAL = {"The class shares alone", "Boosted trees"}
WORTH_CALIBRATING = 0.01
"""By what share of itself the log loss must improve."""
LOSSES: dict[Loss, str] = {
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "pinball": "pinball loss",
    "huber": "Huber loss",
    "poisson_deviance": "Poisson deviance",
}


def findings(report: ReportSections) -> list[Finding]:
    """The findings, comparison with baselines first."""
    slices = findings_of_slices(report.slices, report.time_columns)
    return [*_of_baselines(report.baselines), *_of_rows(report), *_of_calibration(report), *slices]


def model_name(model: Baseline, loss: Loss) -> str:
    """A baseline's name in words."""
    match model.name:
        case "constant":
            return CONSTANTS.get(loss, "The mean alone")
        case "linear":
            return LINEAR.get(loss, "Linear regression")
        case "boosted_trees":
            return "Boosted trees"


def _of_baselines(found: Baselines | None) -> Iterator[Finding]:
    if found is None:
        return
    better = [model for model in found.models if model.verdict == "baseline_better"]
    equal = [model for model in found.models if model.verdict == "no_difference"]
    for model in sorted(better, key=lambda model: model.loss.value or 0.0):
        name = model_name(model, found.loss)
        verb = "are" if name in PLURAL else "is"
        yield Finding(level="warning", text=f"{name} {verb} better: {_compared(model, found)}.")
    for model in equal:
        name = model_name(model, found.loss)
        text = f"No significant difference to {_lowered(name)}: {_compared(model, found)}."
        if model.difference.value is None:
            loss = LOSSES[found.loss]
            text = f"Not compared with {_lowered(name)}: the {loss} of one of them is beyond the range of float64."
        yield Finding(level="warning" if model.name == "constant" else "note", text=text)
    if not better and not equal and found.models:
        nearest = min(found.models, key=lambda model: model.loss.value or 0.0)
        name = _lowered(model_name(nearest, found.loss))
        text = f"The network is better than every baseline; the best of them, {name}: {_compared(nearest, found)}."
        yield Finding(level="good", text=text)


def _lowered(name: str) -> str:
    return name[0].lower() + name[1:]


def _compared(model: Baseline, found: Baselines) -> str:
    """`log loss 0.31 instead of the network's 0.35; difference -0.04 (-0.06 to -0.02)`."""
    text = f"{LOSSES[found.loss]} {number(model.loss.value)} instead of the network's {number(found.network.value)}"
    return f"{text}; difference {estimate(model.difference)}"


def _of_rows(report: ReportSections) -> Iterator[Finding]:
    if report.evaluated.part == "validation":
        text = (
            "There are no test rows: metrics are of the validation rows, which also chose the best epoch, so they are "
            "a little too good."
        )
        if isinstance(report, VersionReport) and len(report.members) > 1:
            text = (
                "No row is a test row of all members: each validation row is predicted by the members that validated "
                "it. These rows also chose their best epochs, so metrics are a little too good."
            )
        yield Finding(level="note", text=text)
    if report.evaluated.not_finite:
        rows = report.evaluated.rows + report.evaluated.not_finite
        text = (
            f"{report.evaluated.not_finite:,} of {rows:,} rows are left out of every number here: their predictions "
            "are beyond the range of float64."
        )
        yield Finding(level="warning", text=text)
    if report.evaluated.rows < 100:
        text = (
            f"Only {report.evaluated.rows} rows were evaluated: intervals are wide, and small differences mean little."
        )
        yield Finding(level="note", text=text)


def _of_calibration(report: ReportSections) -> Iterator[Finding]:
    found = report.temperature
    if found is None or found.log_loss is None or found.calibrated_log_loss is None:
        return
    if found.log_loss - found.calibrated_log_loss > WORTH_CALIBRATING * found.log_loss:
        sure = "too sure" if found.temperature > 1 else "not sure enough"
        text = (
            f"Raw probabilities are {sure}: a temperature of {number(found.temperature)} improves the log loss of the "
            f"validation rows from {number(found.log_loss)} to {number(found.calibrated_log_loss)}."
        )
        yield Finding(level="note", text=text)


def findings_of_slices(found: SlicesSection | None, time_columns: list[str]) -> Iterator[Finding]:
    """The worst slice, if there is one."""
    if found is not None and found.slices:
        worst = found.slices[0]
        where = " and ".join(condition(each, time_columns) for each in worst.conditions)
        text = (
            f"The error is significantly larger where {where}: mean loss {number(worst.mean_loss)} in {worst.rows:,} "
            f"rows, {number(worst.rest_mean_loss)} elsewhere."
        )
        yield Finding(level="note", text=text)
