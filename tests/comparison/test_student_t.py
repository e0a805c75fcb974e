"""Student's t distribution, compared with SciPy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.comparison.student_t import two_sided_p


@given(st.floats(-1e6, 1e6), st.integers(1, 3_000))
def test_p_values_are_those_of_scipy(t: float, df: int) -> None:
    assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-9, abs=1e-13)


def test_no_difference_has_a_p_value_of_1_and_an_infinite_one_of_0() -> None:
    for df in (1, 2, 7):
        assert two_sided_p(0.0, df) == 1.0
        assert two_sided_p(math.inf, df) == pytest.approx(0.0, abs=1e-15)
