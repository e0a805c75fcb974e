"""The paired t test: compared with SciPy, corrected for folds, and adjusted for several comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.comparison.paired_test import adjusted_for_selection, paired_test, standard_error

VALUES = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=30)


@given(VALUES)
def test_without_folds_it_is_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    found = paired_test(pairs, folds=None)
    differences = np.array([first - second for first, second in pairs])

    assert found.mean == pytest.approx(differences.mean(), abs=1e-9)
    assert found.standard_error == pytest.approx(stats.sem(differences), abs=1e-9)
    if np.ptp(differences) > 1e-3:
        assert found.p_value == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, abs=1e-9)


def test_folds_widen_the_standard_error_by_the_share_of_their_rows() -> None:
    values = [1.0, 2.0, 4.0, 3.0]

    assert standard_error(values, folds=None) == pytest.approx(stats.sem(values))
    corrected = np.std(values, ddof=1) * math.sqrt(1 / 4 + 1 / 3)  # a fold has a third of the rows that train
    assert standard_error(values, folds=4) == pytest.approx(corrected)


def test_differences_that_do_not_vary_have_no_p_value_unless_they_are_0() -> None:
    assert paired_test([(0.9, 0.8), (0.7, 0.6), (0.5, 0.4)], folds=None).p_value is None
    assert paired_test([(0.9, 0.9), (0.7, 0.7)], folds=None).p_value == 1.0
    assert paired_test([(0.9, 0.8)], folds=None).p_value is None


def test_sums_that_are_too_large_have_no_p_value() -> None:
    found = paired_test([(1.7e308, -1.7e308), (1.7e308, 0.0)], folds=None)

    assert (found.standard_error, found.p_value) == (None, None)


def test_p_values_are_multiplied_by_the_number_of_pairs_that_are_left() -> None:
    assert adjusted_for_selection([0.02]) == [0.02]
    assert adjusted_for_selection([0.04, 0.001, 0.02]) == pytest.approx([0.06, 0.006, 0.06])
    assert adjusted_for_selection([0.9, 0.8]) == [1.0, 1.0]
    assert adjusted_for_selection([]) == []
