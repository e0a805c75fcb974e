"""Costs of thresholds by a client's cost matrix, from the curves of a finished report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import InvalidRequest
from service.reports.sections.classification import BestThreshold, ThresholdMetrics
from service.reports.sections.estimate import Estimate

if TYPE_CHECKING:
    from typing import TypeVar

    from service.reports.report import ReportSections
    from service.reports.sections.classification import Costs

    R = TypeVar("R", bound=ReportSections)


def with_costs(report: R, costs: Costs) -> R:
    """The report with the mean cost of a row at each threshold of its table, and the cheapest of these thresholds.

    Raises InvalidRequest unless the report is on a classifier of two classes.
    """
    section = report.classification
    if section is None or section.thresholds is None:
        raise InvalidRequest("costs are for classification with two classes, and there are none here")
    positives = section.classes[1].support / section.rows
    found = section.thresholds
    rows = [_with_cost(row, positives, costs) for row in found.rows]
    best = [BestThreshold(metric=each.metric, at=_with_cost(each.at, positives, costs)) for each in found.best]
    cheapest = min([*rows, *(each.at for each in best)], key=lambda row: (_cost(row), abs(row.threshold - 0.5)))
    best = [*(each for each in best if each.metric != "cost"), BestThreshold(metric="cost", at=cheapest)]
    thresholds = found.model_copy(update={"rows": rows, "best": best})
    return report.model_copy(update={"classification": section.model_copy(update={"thresholds": thresholds})})


def _cost(row: ThresholdMetrics) -> float:
    assert row.cost is not None
    return row.cost.value or 0.0


def _with_cost(row: ThresholdMetrics, positives: float, costs: Costs) -> ThresholdMetrics:
    """`positives`: the share of positive rows."""
    true_positives = (row.recall.value or 0.0) * positives
    false_positives = (row.predicted_positive.value or 0.0) - true_positives
    value = (
        costs.true_positive * true_positives
        + costs.false_positive * false_positives
        + costs.false_negative * (positives - true_positives)
        + costs.true_negative * (1.0 - positives - false_positives)
    )
    return row.model_copy(update={"cost": Estimate(value=value, low=None, high=None)})
