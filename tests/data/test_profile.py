"""The profile of a table equals what NumPy computes."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.data.profile import columns, top_values
from service.spec.data import InlineData
from service.spec.request_profiles import inline_profile
from tests.data.tables import PENGUINS, store


def test_a_number_column_is_described_as_numpy_does(tmp_path: Path) -> None:
    lengths = np.genfromtxt(PENGUINS, delimiter=",", skip_header=1, usecols=[2])
    present = lengths[~np.isnan(lengths)]

    column = store(tmp_path, PENGUINS).column("bill_length_mm")

    assert (column.missing, column.distinct) == (2, len(np.unique(present)))
    assert (column.min, column.max) == (present.min(), present.max())
    assert column.mean == pytest.approx(present.mean(), rel=1e-12)
    assert column.std == pytest.approx(present.std(), rel=1e-12)
    assert column.values is None


@pytest.mark.slow
@settings(max_examples=25)
@given(
    x=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=30),
    y=st.lists(st.none() | st.integers(-5, 5), min_size=30, max_size=30),
)
def test_an_uploaded_table_has_the_profile_of_the_same_rows_in_a_request(
    x: list[float | None], y: list[int | None]
) -> None:
    pairs = [(a, b) for a, b in zip(x, y, strict=False) if a is not None or b is not None]  # empty rows are skipped
    assume(len(pairs) >= 3)
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    lines = [f"{'' if a is None else repr(a)},{'' if b is None else b}" for a, b in zip(x, y, strict=False)]
    expected = inline_profile(InlineData(x=[[value] for value in x], y=y[: len(x)])).columns

    with tempfile.TemporaryDirectory() as folder:
        found = store(Path(folder), "x0,y\n" + "\n".join(lines) + "\n").columns

    for column, other in zip(found, expected, strict=True):
        if other.distinct:
            assert (column.type, column.missing, column.distinct) == (other.type, other.missing, other.distinct)
            assert (column.min, column.max, column.values) == (other.min, other.max, other.values)
            assert column.mean == pytest.approx(np.mean(_present(x if column.name == "x0" else y[: len(x)])), rel=1e-9)


def _present(values: list[float | None] | list[int | None]) -> np.ndarray:
    """Divided where their sum would overflow, as a mean may not."""
    return np.array([v for v in values if v is not None], dtype=np.longdouble)


def test_every_value_of_a_text_is_listed_in_order_with_its_count(tmp_path: Path) -> None:
    column = store(tmp_path, PENGUINS).column("island")

    assert [(v.value, v.count) for v in column.values or []] == [("Biscoe", 168), ("Dream", 124), ("Torgersen", 52)]


def test_booleans_are_listed_as_booleans(tmp_path: Path) -> None:
    column = store(tmp_path, "x\ntrue\nfalse\ntrue\n").column("x")

    assert [(v.value, v.count) for v in column.values or []] == [(False, 1), (True, 2)]
    assert column.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(("distinct", "listed"), [(1_000, True), (1_001, False)])
def test_only_columns_with_few_values_list_them(tmp_path: Path, distinct: int, listed: bool) -> None:
    stored = store(tmp_path, "n,t\n" + "".join(f"{i},t{i}\n" for i in range(distinct)))

    assert [c.distinct for c in stored.columns] == [distinct, distinct]
    assert [c.values is not None for c in stored.columns] == [listed, listed]


def test_long_text_is_not_listed_and_no_feature(tmp_path: Path) -> None:
    lines = (f"{'x' * 1_000}{i % 3},{'x' * 999}{i % 3},{i}\n" for i in range(15))

    stored = store(tmp_path, "long,short,y\n" + "".join(lines))

    assert [(c.distinct, c.values is not None) for c in stored.columns] == [(3, False), (3, True), (15, True)]
    assert [feature.column for feature in stored.resolve("y").features] == ["short"]


def test_a_wide_table_lists_the_columns_with_the_fewest_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_values, "MAX_LISTED_VALUES", 10)

    stored = store(tmp_path, "a,b,c\n" + "".join(f"{i},{i % 2},{i % 7}\n" for i in range(8)))

    assert [c.values is not None for c in stored.columns] == [False, True, True]


def test_many_rows_are_measured_in_batches_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_CELLS", 1_000)
    rng = np.random.default_rng(0)
    table = rng.integers(0, 50, (600, 5))

    stored = store(tmp_path, "\n".join(["a,b,c,d,e", *(",".join(map(str, row)) for row in table)]))

    for column, values in zip(stored.columns, table.T, strict=True):
        assert {v.value: v.count for v in column.values or []} == Counter(values.tolist())


def test_of_many_texts_the_most_frequent_are_listed_with_their_rows(tmp_path: Path) -> None:
    cities = [*["often"] * 9, *["böth"] * 5, *["also"] * 5, *["rare"] * 4, *(f"once {i}" for i in range(1_000))]
    prose = [f"{'x' * 1_000}{i % 1_010}" for i in range(len(cities))]

    stored = store(tmp_path, "city,prose\n" + "".join(f"{a},{b}\n" for a, b in zip(cities, prose, strict=True)))

    city = stored.column("city")
    assert (city.distinct, city.values) == (1_004, None)
    assert [(found.value, found.count) for found in city.top or []] == [("often", 9), ("also", 5), ("böth", 5)]
    assert stored.column("prose").top is None


def test_of_many_integers_the_most_frequent_are_listed_too(tmp_path: Path) -> None:
    codes = [*[7] * 6, *[-3] * 5, *range(100, 1_100)]

    column = store(tmp_path, "code\n" + "".join(f"{code}\n" for code in codes)).column("code")

    assert (column.values, [(found.value, found.count) for found in column.top or []]) == (None, [(7, 6), (-3, 5)])
