"""The metrics of a report as blocks of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents import charts
from service.reports.documents.blocks import Block, Charts, Paragraph, Section, Table
from service.reports.text import estimate, number

if TYPE_CHECKING:
    from service.reports.sections.calibration import ConformalCoverage, Temperature
    from service.reports.sections.classification import BestThreshold, ClassificationSection, Thresholds
    from service.reports.sections.regression import RegressionSection

METRICS = ("Metric", "Value (95% interval)")
BEST = {
    "f1": "best F1",
    "accuracy": "best accuracy",
    "balanced_accuracy": "best balanced accuracy",
    "cost": "lowest cost",
}


def classification(found: ClassificationSection) -> list[Section]:
    """Metrics, classes, curves, calibration, thresholds."""
    rows = [
        ("Accuracy", found.accuracy),
        ("Balanced accuracy", found.balanced_accuracy),
        ("Log loss", found.log_loss),
        ("Brier score", found.brier_score),
        ("ROC AUC", found.roc_auc),
        ("Average precision", found.average_precision),
        ("Macro F1", found.macro.f1),
        ("Weighted F1", found.weighted.f1),
    ]
    metrics = Table(METRICS, [(name, estimate(value)) for name, value in rows])
    sections = [Section("Metrics", [metrics]), _classes(found)]
    sections.append(Section("Curves", [Charts([charts.roc(found), charts.precision_recall(found)])]))
    if found.thresholds is not None:
        sections.append(_thresholds(found.thresholds))
    return sections


def _classes(found: ClassificationSection) -> Section:
    head = ("Class", "Rows", "Predicted", "Precision", "Recall", "F1", "ROC AUC")
    rows = [
        (
            each.name,
            f"{each.support:,}",
            f"{each.predicted:,}",
            *(estimate(value, 2) for value in (each.precision, each.recall, each.f1)),
            estimate(each.roc_auc),
        )
        for each in found.classes
    ]
    matrix, counts = found.confusion, charts.confusion(found.confusion)
    if counts is None:
        return Section("Classes", [Table(head, rows)])
    drawn: Block = Charts([counts])
    cells = [(name, *(f"{cell:,}" for cell in row)) for name, row in zip(matrix.classes, matrix.counts, strict=True)]
    of_text = Table(("True class", *(f"predicted {name}" for name in matrix.classes)), cells, in_html=False)
    return Section("Classes", [Table(head, rows), drawn, of_text])


def _thresholds(found: Thresholds) -> Section:
    costs = any(row.cost is not None for row in found.rows)
    head = ("Threshold", "Precision", "Recall", "F1", "Accuracy", "Predicted positive")

    def cells(name: str, each: BestThreshold | None, place: int) -> tuple[str, ...]:
        row = found.rows[place] if each is None else each.at
        values = (row.precision, row.recall, row.f1, row.accuracy, row.predicted_positive)
        cost = () if not costs else ("" if row.cost is None else number(row.cost.value, 4),)
        return (name, *(number(value.value) for value in values), *cost)

    rows = [cells(number(row.threshold), None, place) for place, row in enumerate(found.rows)]
    rows += [
        cells(f"{number(each.at.threshold)} ({BEST.get(each.metric, each.metric)})", each, 0) for each in found.best
    ]
    text = (
        f"A row is predicted {found.positive} if its raw probability, as `predict` with `calibrated=false` answers, is "
        "at least the threshold. The best thresholds were chosen on these rows; on new ones they are expected to do a "
        "little worse."
    )
    return Section("Thresholds", [Paragraph(text), Table((*head, "Mean cost") if costs else head, rows)])


def calibration(
    classified: ClassificationSection | None, temperature: Temperature | None, coverage: list[ConformalCoverage]
) -> Section | None:
    """Reliability of probabilities, and coverage of sets or intervals."""
    blocks: list[Block] = []
    if classified is not None:
        found = classified.reliability
        of = found.of if len(classified.confusion.classes) == 2 else "the predicted class"
        error = estimate(found.expected_calibration_error)
        blocks.append(Paragraph(f"Expected calibration error of the probability of {of}: {error}."))
        blocks.append(Charts([charts.reliability(classified)]))
    if temperature is not None:
        text = f"Temperature {number(temperature.temperature)} ({temperature.reason})"
        text += f", from {temperature.rows:,} validation rows"
        if temperature.log_loss is not None and temperature.reason == "fitted":
            losses = number(temperature.log_loss), number(temperature.calibrated_log_loss)
            text += f": their log loss goes from {losses[0]} to {losses[1]}"
        blocks.append(Paragraph(f"{text}."))
    if coverage:
        sets = classified is not None
        what = "sets of classes" if sets else "intervals"
        text = (
            f"Conformal {what}, calibrated on the validation rows and measured on the test rows: they hold the true "
            "value as often as asked for."
        )
        head = ("Asked for", "Measured coverage", "Mean number of classes" if sets else "Mean width")
        rows = [(f"{each.level:.0%}", estimate(each.coverage), number(each.mean_size)) for each in coverage]
        blocks += [Paragraph(text), Table(head, rows)]
    return Section("Calibration", blocks) if blocks else None


def regression(found: RegressionSection) -> list[Section]:
    """Metrics, residuals, errors by decile."""
    rows = [
        ("RMSE", found.rmse),
        ("Mean absolute error", found.mae),
        ("Median absolute error", found.median_absolute_error),
        ("R²", found.r2),
        ("Mean relative error (MAPE)", found.mape),
        ("Mean residual", found.mean_residual),
    ]
    metrics = Table(METRICS, [(name, estimate(value)) for name, value in rows])
    drawn = [charts.predicted_actual(found), charts.residuals(found), charts.residuals_by_prediction(found)]
    deciles = Table(
        ("True value", "Rows", "Mean absolute error", "Mean residual"),
        [
            (
                f"{number(each.low)} to {number(each.high)}",
                f"{each.rows:,}",
                estimate(each.mae),
                estimate(each.mean_residual),
            )
            for each in found.deciles
        ],
    )
    return [
        Section("Metrics", [metrics]),
        Section("Predictions and residuals", [Charts(drawn)]),
        Section("Error by decile of the true value", [Charts([charts.deciles(found)]), deciles]),
    ]
