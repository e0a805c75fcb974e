"""Target leakage: found where a column determines another one, and not elsewhere."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from service.data.profile import leakage
from service.data.profile.leakage import MIN_XI, _Ranked
from tests.data.tables import PENGUINS, Stored, store


def table(folder: Path, **columns: list[object] | np.ndarray) -> Stored:
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    return store(folder, "\n".join([",".join(columns), *lines]) + "\n")


def leaks(stored: Stored, target: str = "y") -> list[str]:
    return stored.column(target).given_away_by


RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=400)
CLASSES = RNG.integers(0, 4, 400)


@pytest.mark.parametrize(
    ("leak", "target"),
    [
        (NOISE * 1.8 + 32, NOISE),  # the same in another unit
        (np.exp(NOISE), NOISE),
        (NOISE, NOISE**2),  # no correlation at all, but a function
        (NOISE, np.where(NOISE > 0.3, "yes", "no")),  # what was cut into the classes
        ([f"code{c}" for c in CLASSES], CLASSES),  # the classes by another name
        ([f"code{c}" for c in RNG.integers(0, 12, 400)], None),  # finer than the classes
        ([None if c else "2020-01-01" for c in CLASSES], CLASSES == 0),  # missing unless
    ],
)
def test_a_column_that_determines_the_target_is_found(
    tmp_path: Path, leak: list[object] | np.ndarray, target: np.ndarray | None
) -> None:
    y = np.array([int(str(code)[4:]) % 3 for code in leak]) if target is None else target

    assert leaks(table(tmp_path, leak=leak, other=RNG.normal(size=400), y=y)) == ["leak"]


def test_a_counter_of_rows_sorted_by_class_is_found(tmp_path: Path) -> None:
    assert leaks(table(tmp_path, row=np.arange(400), x=NOISE, y=np.sort(CLASSES))) == ["row"]


def test_rows_without_a_target_count_for_nothing(tmp_path: Path) -> None:
    y = [value if i % 3 else None for i, value in enumerate(NOISE.tolist())]

    assert leaks(table(tmp_path, leak=NOISE * 2, y=y)) == ["leak"]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (NOISE + RNG.normal(size=400) * 0.3, NOISE),  # strongly correlated, but noisy
        (np.zeros(400), np.sort(CLASSES)),  # constant, in a file sorted by class
        (RNG.integers(0, 2, 400), np.sort(CLASSES)),
        ([f"id{i}" for i in range(400)], CLASSES),  # all texts different
        (RNG.permutation(400), CLASSES),
    ],
)
def test_a_column_that_does_not_determine_the_target_is_no_leakage(
    tmp_path: Path, x: list[object] | np.ndarray, y: np.ndarray
) -> None:
    assert leaks(table(tmp_path, x=x, y=y)) == []


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes])
def test_well_known_tables_have_no_leakage(tmp_path: Path, load: object) -> None:
    x, y = load(return_X_y=True)  # type: ignore[operator]

    assert leaks(table(tmp_path, **{f"x{i}": column for i, column in enumerate(x.T)}, y=y)) == []


def test_the_penguins_have_no_leakage(tmp_path: Path) -> None:
    assert leaks(store(tmp_path, PENGUINS), "species") == []


def test_of_a_wide_table_the_columns_at_the_ends_are_possible_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "PAIRS", 12)

    stored = table(tmp_path, **dict.fromkeys("abcdef", NOISE))

    assert [column.name for column in stored.columns if column.given_away_by] == ["a", "f"]


@given(arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([0.0, 1.0, 2.5, np.nan])), st.randoms())
def test_xi_equals_its_formula(values: np.ndarray, random: object) -> None:
    order = np.array(random.sample(range(len(values)), len(values)))  # type: ignore[attr-defined]
    y = [value for value in values[order].tolist() if value == value]
    n, up_to = len(y), [sum(a <= b for a in y) for b in y]
    from_here = [sum(a >= b for a in y) for b in y]
    chance = 2 * sum(k * (n - k) for k in from_here)
    expected = 1 - n * sum(abs(b - a) for a, b in pairwise(up_to)) / chance if chance else 0.0

    assert _Ranked(values).xi(order) == pytest.approx(expected)


@given(st.lists(st.integers(0, 3) | st.floats(-1, 1), min_size=1, max_size=39), st.data())
def test_fewer_than_40_rows_are_no_proof_however_they_are_ordered(values: list[float], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(values))) | st.just(np.argsort(values)))

    assert _Ranked(np.array(values, dtype=float)).xi(np.array(order)) < MIN_XI
