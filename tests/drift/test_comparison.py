"""Columns of new rows compared with the profile of training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.drift.bins import number_profile, text_profile
from service.drift.comparison import compared
from service.spec.table import ColumnType

RNG = np.random.default_rng(0)
NUMBERS = number_profile("mass", ColumnType.number, RNG.normal(10, 2, 5_000))
TEXTS = text_profile("island", RNG.choice(["Biscoe", "Dream", "Torgersen"], 5_000, p=[0.5, 0.3, 0.2]).astype(object))


def texts(*values: Any) -> Any:
    return np.array([*values, None], dtype=object)[:-1]


def test_rows_of_the_same_distribution_have_not_drifted() -> None:
    found = compared(NUMBERS, RNG.normal(10, 2, 1_000), 1)

    assert found.drift == "none"
    assert found.psi < 0.03
    assert (found.column, found.type, found.missing) == ("mass", ColumnType.number, 0)


def test_a_shifted_mean_is_a_drift_by_the_usual_thresholds() -> None:
    small, large = compared(NUMBERS, RNG.normal(10.8, 2, 5_000), 1), compared(NUMBERS, RNG.normal(12, 2, 5_000), 1)

    assert small.drift == "moderate"
    assert 0.1 <= small.psi < 0.25
    assert large.drift == "large"
    assert abs(large.psi - 1.0) < 0.2  # of two normal distributions one deviation apart it would be 1


def test_few_rows_have_a_large_index_by_chance_which_is_no_drift() -> None:
    found = compared(NUMBERS, RNG.normal(10, 2, 15), 1)

    assert found.psi > 0.25
    assert found.psi_expected > 0.25
    assert found.psi < found.psi_limit
    assert found.drift == "none"


def test_missing_values_are_a_bin_of_their_own() -> None:
    values = np.where(RNG.random(2_000) < 0.3, np.nan, RNG.normal(10, 2, 2_000))

    found = compared(NUMBERS, values, 1)

    assert found.drift == "large"
    assert abs(found.missing - 0.3) < 0.04
    assert found.training_missing == 0
    assert found.bins[-1].label == "(missing)"
    assert found.bins[-1].rows == found.missing


def test_numbers_outside_the_training_range_and_new_texts_are_unseen() -> None:
    numbers = compared(NUMBERS, np.array([10.0, 50.0, -50.0, np.nan]), 1)
    island = compared(TEXTS, texts("Dream", "Elephant", "Ross", "Ross", None), 1)

    assert numbers.unseen == 0.5
    assert island.unseen == 3 / 5
    assert island.unseen_texts == ["Ross", "Elephant"]


def test_a_constant_column_drifts_when_it_takes_another_value() -> None:
    constant = number_profile("x", ColumnType.number, np.full(1_000, 5.0))

    assert compared(constant, np.full(100, 5.0), 1).psi == 0
    assert compared(constant, np.full(100, 7.0), 1).drift == "large"


def test_a_column_of_too_many_texts_does_not_say_which_are_unseen() -> None:
    profile = text_profile("id", texts(*(f"id {i}" for i in range(12_000))))

    found = compared(profile, texts("id 1", "new"), 1)

    assert found.unseen is None
    assert found.unseen_texts == []


def test_shares_of_bins_add_up_to_one_and_long_texts_are_cut() -> None:
    found = compared(text_profile("x", texts("a" * 500, "b")), texts("c" * 500, "b", None), 1)

    assert sum(each.rows for each in found.bins) == 1
    assert sum(each.training for each in found.bins) == 1
    assert max(len(each.label) for each in found.bins) < 100
    assert len(found.unseen_texts[0]) < 100
