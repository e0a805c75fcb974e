"""Slices with a larger error are found, seldom by chance, and counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from service.reports.documents.blocks import Paragraph
from service.reports.documents.content import slices_section
from service.reports.sections.slices import SliceCondition
from service.reports.slice_columns import slice_column
from service.reports.slices import find_slices, holm, student_t_tail, worst_rows


def table(rng: np.random.Generator, rows: int, numbers: int = 3, categories: int = 3) -> dict[str, Any]:
    """Independent columns, numbers and categories, with missing values."""
    found: dict[str, Any] = {}
    for i in range(numbers):
        found[f"number {i}"] = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    for i in range(categories):
        texts = np.array([None, "a", "b", "c", "d"], object)
        found[f"category {i}"] = texts[rng.integers(0, 5, rows)]
    return found


def holds(condition: SliceCondition, values: Any) -> Any:
    """The rows for which a condition holds, by its own words."""
    if condition.missing:
        return np.array([value is None or value != value for value in values])
    if condition.value is not None:
        return np.array([value == condition.value for value in values])
    low = -np.inf if condition.low is None else condition.low
    high = np.inf if condition.high is None else condition.high
    return (values >= low) & (values < high)


def test_a_slice_with_larger_errors_is_found_and_its_numbers_are_exact() -> None:
    rng = np.random.default_rng(0)
    columns = table(rng, 3_000)
    bad = columns["category 1"] == "c"
    losses = rng.exponential(size=3_000) * np.where(bad, 2.0, 1.0)

    found = find_slices(columns, losses)

    first = found.slices[0]
    assert [(each.column, each.value) for each in first.conditions] == [("category 1", "c")]
    assert first.rows == bad.sum()
    assert first.mean_loss == pytest.approx(losses[bad].mean())
    assert first.rest_mean_loss == pytest.approx(losses[~bad].mean())
    assert first.excess == pytest.approx(losses[bad].mean() - losses[~bad].mean())
    assert first.corrected_p_value <= 0.05
    assert found.mean_loss == pytest.approx(losses.mean())
    assert found.looked_at == 3 * 6 + 3 * 5
    assert found.pairs == (33**2 - 3 * 36 - 3 * 25) // 2
    assert len(found.slices) == 1  # pairs with the bad slice are not worse than the rest of it


def test_a_pair_is_found_where_only_both_conditions_together_are_bad() -> None:
    rng = np.random.default_rng(1)
    columns = table(rng, 10_000)
    bad = (columns["category 0"] == "a") & (columns["number 2"] > 1.0)
    losses = rng.exponential(size=10_000) + 3.0 * bad

    found = find_slices(columns, losses)

    pairs = [each for each in found.slices if len(each.conditions) == 2]
    assert {condition.column for condition in pairs[0].conditions} == {"category 0", "number 2"}
    for each in found.slices:
        inside = np.all([holds(condition, columns[condition.column]) for condition in each.conditions], 0)
        assert each.rows == inside.sum()
        assert each.mean_loss == pytest.approx(losses[inside].mean())
        assert each.rest_mean_loss == pytest.approx(losses[~inside].mean())


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, rows: rng.exponential(size=rows) ** 2,
        lambda rng, rows: (rng.random(rows) < 0.03).astype(float),
        lambda rng, rows: (rng.random(rows) < 0.9).astype(float),
        lambda rng, rows: rng.normal(size=rows),
    ],
    ids=["heavy tail", "rare errors", "frequent errors", "normal"],
)
def test_without_a_bad_slice_one_is_found_in_at_most_5_percent_of_tables(
    draw: Callable[[np.random.Generator, int], Any],
) -> None:
    rng = np.random.default_rng(2)

    wrong = sum(bool(find_slices(table(rng, 400), draw(rng, 400)).slices) for _ in range(200))

    assert wrong <= 16  # 10 are expected at most; 16 or fewer in 98 of 100 runs


def test_missing_values_are_a_slice_and_rare_values_are_not() -> None:
    rng = np.random.default_rng(3)
    columns = table(rng, 1_000, numbers=1, categories=1)
    columns["rare"] = np.array(["x"] * 970 + [f"y{i}" for i in range(30)], object)
    losses = rng.exponential(size=1_000) + 2.0 * np.isnan(columns["number 0"])

    found = find_slices(columns, losses)

    (condition,) = found.slices[0].conditions
    assert (condition.column, condition.missing) == ("number 0", True)
    assert found.looked_at == 6 + 5 + 1


@pytest.mark.parametrize("losses", [np.full(300, 0.1), np.zeros(300)], ids=["equal", "none"])
def test_equal_losses_have_no_slices(losses: Any) -> None:
    assert find_slices(table(np.random.default_rng(4), 300), losses).slices == []


def test_rows_that_alone_are_all_wrong_are_found() -> None:
    columns = table(np.random.default_rng(5), 1_000)
    bad = columns["category 2"] == "d"

    found = find_slices(columns, bad.astype(float))

    assert found.slices[0].rows == bad.sum()
    assert (found.slices[0].mean_loss, found.slices[0].rest_mean_loss) == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize("rows", [1, 59])
def test_few_rows_have_no_slices(rows: int) -> None:
    found = find_slices(table(np.random.default_rng(6), rows), np.arange(float(rows)))

    assert (found.looked_at, found.pairs, found.slices) == (0, 0, [])
    assert find_slices({}, np.arange(float(rows))).slices == []
    none = f"No slice of one column has at least {found.min_rows} rows inside and outside."
    assert slices_section(found, []).blocks == [Paragraph(none)]


VALUES = st.one_of(
    npst.arrays(np.float64, 80, elements=st.floats(-5, 5, width=16) | st.just(np.nan)),
    npst.arrays(np.float64, 80, elements=st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf])),
    npst.arrays(np.int64, 80, elements=st.integers(-20, 20)),
    npst.arrays(np.bool_, 80),
    st.lists(st.sampled_from(["a", "b", None]), min_size=80, max_size=80).map(lambda each: np.array(each, object)),
    st.lists(st.integers(0, 79), min_size=80, max_size=80).map(lambda each: np.array([f"v{i}" for i in each], object)),
)


@given(VALUES)
def test_each_row_is_in_the_slice_whose_condition_holds_for_it(values: Any) -> None:
    found = slice_column("x", values)

    for code, condition in enumerate(found.conditions):
        assert np.array_equal(found.codes == code, holds(condition, values))
    assert (found.codes >= -1).all()
    assert (found.codes < len(found.conditions)).all()


@given(st.floats(-12, 12), st.integers(29, 10_000))
def test_the_tail_of_student_s_t_is_that_of_scipy_or_a_little_more(t: float, freedom: int) -> None:
    found = student_t_tail(np.array([t]), np.array([float(freedom)]))[0]

    assert 0.999 < found / stats.t.sf(t, freedom) < 1.1


@given(npst.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)), st.integers(0, 100))
def test_holm_rejects_what_its_steps_reject(p_values: Any, more: int) -> None:
    corrected = holm(p_values, len(p_values) + more)

    for level in (0.01, 0.05, 0.5):
        rejected = []
        for step, i in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[i] * (len(p_values) + more - step) > level:
                break
            rejected.append(i)
        assert sorted(rejected) == np.flatnonzero(corrected <= level).tolist()


def test_worst_rows_are_ordered_by_loss_and_then_by_row() -> None:
    losses = np.array([1.0, 5.0, 2.0, 5.0, 0.0])

    assert worst_rows(losses, 3).tolist() == [1, 3, 2]
    assert worst_rows(losses).tolist() == [1, 3, 2, 0, 4]
