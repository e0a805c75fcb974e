"""The reliability curve equals scikit-learn's, and the calibration error follows from its bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.calibration import calibration_curve

from service.reports.bootstrap import Bootstrap
from service.reports.classification import classification_section
from service.reports.reliability import reliability

EXACT = {"rel": 1e-9, "abs": 1e-9}
ROWS = st.shared(st.integers(1, 300), key="rows")


@given(npst.arrays(np.float64, ROWS, elements=st.floats(0, 1, width=16)), npst.arrays(np.bool_, ROWS))
def test_the_curve_is_that_of_scikit_learn_with_bins_of_equally_many_rows(probabilities: Any, outcome: Any) -> None:
    bins = min(10, max(1, len(outcome) // 20))
    observed, predicted = calibration_curve(outcome, probabilities, n_bins=bins, strategy="quantile", pos_label=True)

    found = reliability("yes", probabilities, outcome, Bootstrap(len(outcome), resamples=20))

    assert [each.observed.value for each in found.bins] == pytest.approx(observed, **EXACT)
    assert [each.mean_probability for each in found.bins] == pytest.approx(predicted, **EXACT)
    rows = np.array([each.rows for each in found.bins])
    assert rows.sum() == len(outcome)
    error = float(rows @ np.abs(observed - predicted)) / len(outcome)
    assert found.expected_calibration_error.value == pytest.approx(error, **EXACT)


def test_with_two_classes_it_is_that_of_the_second_class_and_with_more_that_of_the_predicted_class() -> None:
    rng = np.random.default_rng(0)
    two, three = rng.dirichlet(np.ones(2), 500), rng.dirichlet(np.ones(3), 500)
    truth = rng.integers(0, 2, 500)

    of_two = classification_section(truth, two, ["no", "yes"]).reliability
    of_three = classification_section(truth, three, ["a", "b", "c"]).reliability

    assert of_two == reliability("yes", two[:, 1], truth == 1, Bootstrap(500))
    right = three.argmax(1) == truth
    assert of_three == reliability("(predicted class)", three.max(1), right, Bootstrap(500))
