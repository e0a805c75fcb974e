"""Learning curve and drop-column importance from the recorded metrics of retrained jobs. Without NumPy, for the API."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from service.reports.report import Finding, MissingSection
from service.reports.sections.retraining import (
    DroppedColumn,
    LearningCurvePoint,
    MeanChange,
    RetrainingMetric,
    RetrainingSection,
)
from service.reports.text import number

if TYPE_CHECKING:
    from service.reports.report import Report
    from service.reports.sections.importance import Loss

METRICS: dict[Loss, RetrainingMetric] = {"pinball": "loss", "huber": "mae"}
"""Metrics of losses that are recorded in another unit than the report's; others have the name of the loss."""
NAMES: dict[RetrainingMetric, str] = {
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "poisson_deviance": "Poisson deviance",
    "loss": "pinball loss",
}


@dataclass(frozen=True)
class RetrainedJob:
    """A job of the sweep that retrains another one; it has ended."""

    fraction: float | None
    """Its share of the training rows; None: it trains without a column."""
    column: str | None
    """The column that it trains without."""
    seed: int
    rows: int | None
    """Number of its training rows."""
    validation: Mapping[str, float | None]
    """Losses and metrics of its best epoch, `val_log_loss` etc."""
    test: Mapping[str, float | None] | None
    """Metrics of the test rows, `log_loss` etc."""


def retraining_section(report: Report, sweep: str, jobs: Sequence[RetrainedJob]) -> RetrainingSection:
    """The section of the report on the job that these jobs, all of the sweep, retrain."""
    part = report.evaluated.part
    metric = METRICS.get(report.loss) or _recorded(report.loss)
    valued = [(job, value) for job in jobs if (value := _value(job, metric, part)) is not None]
    curve = _learning_curve(valued)
    by_seed = {
        fraction: {job.seed: value for job, value in valued if job.fraction == fraction}
        for fraction in {job.fraction for job, _ in valued} - {None}
    }
    shares = sorted({job.fraction for job in jobs if job.fraction is not None})
    before, full = (by_seed.get(share, {}) for share in shares[-2:]) if len(shares) > 1 else ({}, {})
    more_rows = _change(before, full)
    dropped = _dropped_columns(valued, full)
    section = RetrainingSection(
        sweep=sweep,
        metric=metric,
        part=part,
        jobs=len(valued),
        without_result=len(jobs) - len(valued),
        learning_curve=curve,
        more_rows=more_rows,
        columns=dropped,
        sentences=[],
    )
    return section.model_copy(update={"sentences": _sentences(section)})


def with_retraining(report: Report, found: RetrainingSection | str) -> Report:
    """The report with this section and its findings, or with the reason why there is none."""
    if isinstance(found, str):
        missing = [*report.missing, MissingSection(section="retraining", reason=found)]
        return report.model_copy(update={"missing": missing})
    findings = [Finding(level="note", text=text) for text in found.sentences[: 1 if found.more_rows else 0]]
    better = [each.column for each in found.columns if each.verdict == "better_without"]
    findings += [Finding(level="note", text=_of_column(each, found)) for each in found.columns if each.column in better]
    return report.model_copy(update={"retraining": found, "findings": [*report.findings, *findings]})


def _recorded(loss: Loss) -> RetrainingMetric:
    match loss:
        case "log_loss" | "rmse" | "mae" | "poisson_deviance":
            return loss
        case _:
            return "loss"


def _value(job: RetrainedJob, metric: RetrainingMetric, part: Literal["test", "validation"]) -> float | None:
    return (job.test or {}).get(metric) if part == "test" else job.validation.get(f"val_{metric}")


def _learning_curve(valued: Sequence[tuple[RetrainedJob, float]]) -> list[LearningCurvePoint]:
    points = []
    for fraction in sorted({job.fraction for job, _ in valued if job.fraction is not None}):
        own = sorted(((job, value) for job, value in valued if job.fraction == fraction), key=lambda one: one[0].seed)
        values, counts = [value for _, value in own], [job.rows for job, _ in own if job.rows is not None]
        rows = round(sum(counts) / len(counts)) if counts else None
        mean, error = _mean(values)
        points.append(LearningCurvePoint(fraction=fraction, rows=rows, mean=mean, standard_error=error, draws=values))
    return points


def _dropped_columns(valued: Sequence[tuple[RetrainedJob, float]], full: Mapping[int, float]) -> list[DroppedColumn]:
    """`full`: the metric of the networks with all columns and rows, by seed."""
    found = []
    for column in dict.fromkeys(job.column for job, _ in valued if job.column is not None):
        change = _change(full, {job.seed: value for job, value in valued if job.column == column})
        if change is not None:
            verdict: Literal["worse_without", "no_difference", "better_without"] = "no_difference"
            if change.clear:
                verdict = "worse_without" if change.mean > 0 else "better_without"
            found.append(DroppedColumn(column=column, change=change, verdict=verdict))
    return sorted(found, key=lambda each: -each.change.mean)


def _change(before: Mapping[int, float], after: Mapping[int, float]) -> MeanChange | None:
    """How the metric changes; by seed. None without a pair."""
    pairs = [after[seed] - before[seed] for seed in sorted(before.keys() & after.keys())]
    if not pairs:
        return None
    mean, error = _mean(pairs)
    return MeanChange(mean=mean, standard_error=error, pairs=pairs)


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None
    variance = math.fsum((value - mean) * (value - mean) for value in values) / (n - 1)
    return mean, math.sqrt(variance / n)


def _sentences(found: RetrainingSection) -> list[str]:
    first = [] if found.more_rows is None else [_of_rows(found, found.more_rows)]
    return [*first, *(_of_column(each, found) for each in found.columns)]


def _of_rows(found: RetrainingSection, change: MeanChange) -> str:
    name = NAMES[found.metric]
    before, last = found.learning_curve[-2:]
    moved = (
        f"from {_share(before.fraction)} to {_share(last.fraction)} of the training rows the {name} of the"
        f" {found.part} rows {_moved(change)}"
    )
    if change.clear and change.mean < 0:
        return f"More training rows would probably help: {moved}."
    if change.clear:
        return f"More training rows have not helped: {moved}."
    return f"It is not clear that more training rows would help: {moved}."


def _of_column(each: DroppedColumn, found: RetrainingSection) -> str:
    name, moved = NAMES[found.metric], _moved(each.change)
    match each.verdict:
        case "worse_without":
            return f"Networks trained without {each.column} are worse: the {name} {moved}."
        case "better_without":
            return f"Networks trained without {each.column} are better: the {name} {moved}."
        case _:
            return f"No clear difference without {each.column}: the {name} {moved}."


def _moved(change: MeanChange) -> str:
    verb = "falls" if change.mean < 0 else "rises"
    error = "" if change.standard_error is None else f" (standard error {number(change.standard_error)})"
    return f"{verb} by {number(abs(change.mean))}{error}"


def _share(fraction: float) -> str:
    return f"{fraction * 100:g}%"
