"""The charts of a report: comparison, confusion matrix, curves, reliability, residuals."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from service.reports.documents.blocks import Chart
from service.reports.documents.plot import Plot
from service.reports.text import estimate, grouped, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.reports.sections.classification import (
        ClassificationSection,
        ConfusionMatrix,
        PrecisionRecallCurve,
        RocCurve,
    )
    from service.reports.sections.estimate import Estimate
    from service.reports.sections.regression import RegressionSection

ROW = 26  # pixels of a row of bars
COLOURS = 8
DRAWN_CURVES = 5
MAX_CELLS = 20  # of a confusion matrix, in each direction


def share(value: float) -> str:
    """A tick between 0 and 1."""
    return f"{value:.1f}"


def rows_with_intervals(title: str, label: str, rows: Sequence[tuple[str, Estimate, str]], *, bars: bool) -> Chart:
    """Named numbers with their intervals, one below another; each with a CSS class. `bars`: from 0, else dots."""
    numbers = [each for _, value, _ in rows for each in (value.value, value.low, value.high) if each is not None]
    ends = (min(numbers, default=0.0), max(numbers, default=1.0))
    spread = (ends[1] - ends[0]) or 1.0
    ends = (min(ends[0], 0.0), max(ends[1], 0.0)) if bars else (ends[0] - 0.08 * spread, ends[1] + 0.08 * spread)
    plot = Plot(ends, (0.0, float(len(rows))), width=560, height=ROW * len(rows) + 56, left=190)
    plot.x_grid()
    plot.x_axis(label, axis_format(*ends))
    for place, (name, value, style) in enumerate(rows):
        y, hint = len(rows) - place - 0.5, f"{name}: {estimate(value)}"
        plot.left_label(y, name)
        if value.value is None:
            continue
        if bars:
            plot.bar((0.0, value.value), (y - 0.3, y + 0.3), f"bar {style}", hint)
        if value.low is not None and value.high is not None:
            plot.line([(value.low, y), (value.high, y)], "whisker" if bars else style)
        if not bars:
            plot.dot(value.value, y, style, hint)
    return Chart(title, plot.svg(title))


def axis_format(low: float, high: float) -> Callable[[float], str]:
    """How ticks between both are written."""
    decimals = min(12, max(0, -floor(log10((high - low) or 1.0)) + 1))

    def written(value: float) -> str:
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return number(value) if len(text) > 9 else "0" if text in ("-0", "") else grouped(text)

    return written


def confusion(matrix: ConfusionMatrix) -> Chart | None:
    """Shares of each true class by predicted class; None for too many classes."""
    classes = matrix.classes
    if len(classes) > MAX_CELLS:
        return None
    count = len(classes)
    side = max(30, min(64, 420 // count))
    plot = Plot((0, count), (0, count), width=side * count + 150, height=side * count + 70, left=136, bottom=58)
    for i, row in enumerate(matrix.counts):
        y, total = count - 1 - i, sum(row) or 1
        plot.left_label(y + 0.5, classes[i])
        for j, cell in enumerate(row):
            hint = f"{classes[i]} predicted as {classes[j]}: {cell:,} of {total:,}"
            plot.cell((j, j + 1), (y, y + 1), cell / total, hint)
            style = "on-cell" if cell / total > 0.55 else "in-cell"
            plot.text(j + 0.5, y + 0.5, f"{cell:,}", style=style)
    for j, name in enumerate(classes):
        plot.column_label(j + 0.5, name, side)
    plot.x_label("predicted class")
    return Chart("Confusion matrix: true class by predicted class", plot.svg("Confusion matrix"))


def _drawn(curves: Sequence[RocCurve | PrecisionRecallCurve]) -> list[tuple[str, int]]:
    """Names and places of the drawn curves; the mean of all classes, the last one, without thresholds, comes first."""
    named = [(curve.name, place) for place, curve in enumerate(curves)]
    if curves and not any(threshold is not None for threshold in curves[-1].thresholds):
        named = [("mean of all classes", len(curves) - 1), *named[:-1]]
    return named[:DRAWN_CURVES]


def roc(section: ClassificationSection) -> Chart:
    """ROC curves."""
    plot = Plot((0, 1), (0, 1))
    plot.y_axis(share)
    plot.x_axis("false positive rate", share)
    plot.line([(0, 0), (1, 1)], "dashed")
    drawn = _drawn(section.roc)
    for place, (_, index) in enumerate(drawn):
        curve = section.roc[index]
        plot.line(zip(curve.false_positive_rate, curve.true_positive_rate, strict=True), f"c{place % COLOURS}")
    plot.legend([name for name, _ in drawn], 0.98, 0.06)
    return Chart("ROC curve: true positive rate", plot.svg("ROC curve"))


def precision_recall(section: ClassificationSection) -> Chart:
    """Precision-recall curves, as steps."""
    plot = Plot((0, 1), (0, 1))
    plot.y_axis(share)
    plot.x_axis("recall", share)
    drawn = _drawn(section.precision_recall)
    for place, (_, index) in enumerate(drawn):
        curve = section.precision_recall[index]
        steps: list[tuple[float, float]] = []
        before = 0.0
        for recall, precision in zip(curve.recall, curve.precision, strict=True):
            steps += [(before, precision), (recall, precision)]
            before = recall
        plot.line(steps, f"c{place % COLOURS}")
    plot.legend([name for name, _ in drawn], 0.98, 0.06)
    return Chart("Precision-recall curve: precision", plot.svg("Precision-recall curve"))


def reliability(section: ClassificationSection) -> Chart:
    """Predicted probabilities against observed shares."""
    plot = Plot((0, 1), (0, 1))
    plot.y_axis(share)
    plot.x_axis("mean predicted probability", share)
    plot.line([(0, 0), (1, 1)], "dashed")
    bins = section.reliability.bins
    plot.line([(each.mean_probability, each.observed.value or 0.0) for each in bins], "c1")
    for each in bins:
        if each.observed.low is not None and each.observed.high is not None:
            plot.line([(each.mean_probability, end) for end in (each.observed.low, each.observed.high)], "whisker")
        hint = f"{each.rows:,} rows: predicted {number(each.mean_probability)}, observed {estimate(each.observed)}"
        plot.dot(each.mean_probability, each.observed.value or 0.0, "c1", hint)
    return Chart("Reliability: observed share", plot.svg("Reliability of probabilities"))


def predicted_actual(section: RegressionSection) -> Chart:
    """Truth against prediction, as counts."""
    found = section.predicted_actual
    low, high = found.edges[0], found.edges[-1]
    plot = Plot((low, high), (low, high))
    plot.y_axis(axis_format(low, high))
    plot.x_axis("true value", axis_format(low, high))
    largest = max((count for row in found.counts for count in row), default=1) or 1
    for i, row in enumerate(found.counts):
        for j, count in enumerate(row):
            if count:
                x, y = (found.edges[i], found.edges[i + 1]), (found.edges[j], found.edges[j + 1])
                plot.cell(x, y, 0.15 + 0.85 * (count / largest) ** 0.5, f"{count:,} rows")
    plot.line([(low, low), (high, high)], "dashed")
    return Chart("Predicted against true value", plot.svg("Predicted against true value"))


def residuals(section: RegressionSection) -> Chart:
    """Histogram of residuals."""
    found = section.residuals
    plot = Plot((found.edges[0], found.edges[-1]), (0.0, max(found.counts, default=1) * 1.05))
    plot.y_axis(number)
    plot.x_axis("residual (true minus predicted)", axis_format(found.edges[0], found.edges[-1]))
    for count, low, high in zip(found.counts, found.edges, found.edges[1:], strict=False):
        plot.bar((low, high), (0.0, count), "bar c1", f"{number(low)} to {number(high)}: {count:,} rows")
    plot.line([(0.0, 0.0), (0.0, max(found.counts, default=1))], "dashed")
    return Chart("Residuals: rows", plot.svg("Histogram of residuals"))


def residuals_by_prediction(section: RegressionSection) -> Chart:
    """Mean and quantiles of residuals against the prediction."""
    bins = section.residuals_by_prediction
    values = [value for each in bins for value in each.quantiles] or [0.0, 1.0]
    ends = min((each.low for each in bins), default=0.0), max((each.high for each in bins), default=1.0)
    plot = Plot(ends, (min(*values, 0.0), max(*values, 0.0)))
    plot.y_axis(axis_format(min(values), max(values)))
    plot.x_axis("prediction", axis_format(*ends))
    middle = [(each.low + each.high) / 2 for each in bins]
    for low, high, style in ((0, 4, "pale"), (1, 3, "")):
        plot.area(
            [(x, each.quantiles[low], each.quantiles[high]) for x, each in zip(middle, bins, strict=True)],
            f"c1 {style}",
        )
    plot.line([(ends[0], 0.0), (ends[1], 0.0)], "dashed")
    plot.line([(x, each.quantiles[2]) for x, each in zip(middle, bins, strict=True)], "c1")
    title = "Residuals by prediction: median, 50% and 90%"
    return Chart(title, plot.svg(title))


def deciles(section: RegressionSection) -> Chart:
    """Mean absolute error by decile of the true value."""
    found = section.deciles
    rows = [(f"{number(each.low)} to {number(each.high)}", each.mae, "c1") for each in found]
    return rows_with_intervals("Mean absolute error by true value", "mean absolute error", rows, bars=True)
