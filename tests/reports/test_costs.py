"""Costs of thresholds from a finished report equal those counted from the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.reports.classification import classification_section
from service.reports.costs import with_costs
from service.reports.sections.classification import Costs
from tests.reports.examples import classification_report, regression_report

COST = st.floats(-10, 10)
REPORT = classification_report()
RNG = np.random.default_rng(1)
TRUTH, CHANCE = RNG.integers(0, 2, 200), RNG.random(200)
SECTION = classification_section(TRUTH, np.stack([1 - CHANCE, CHANCE], axis=1), ["no", "yes"])


@given(COST, COST, COST, COST)
def test_the_mean_cost_is_that_of_the_rows(tn: float, fp: float, fn: float, tp: float) -> None:
    costs = Costs(true_negative=tn, false_positive=fp, false_negative=fn, true_positive=tp)

    found = with_costs(REPORT.model_copy(update={"classification": SECTION}), costs).classification

    assert found is not None
    assert found.thresholds is not None
    by_row = []
    for row in found.thresholds.rows:
        positive = row.threshold <= CHANCE
        each = np.where(TRUTH == 1, np.where(positive, tp, fn), np.where(positive, fp, tn))
        assert row.cost is not None
        assert row.cost.value == pytest.approx(each.mean(), abs=1e-9)
        by_row.append(each.mean())
    best = found.thresholds.best[-1]
    assert best.metric == "cost"
    assert best.at.cost is not None
    assert (best.at.cost.value or 0) <= min(by_row) + 1e-9


@pytest.mark.parametrize("report", [classification_report(3), regression_report()])
def test_costs_are_for_two_classes(report: object) -> None:
    with pytest.raises(InvalidRequest, match="two classes"):
        with_costs(report, Costs())  # type: ignore[arg-type]
