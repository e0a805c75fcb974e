"""Quantiles and histograms equal those of plain Python and NumPy."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.profile import distribution
from service.spec.table import HISTOGRAM_BINS, QUANTILES, Column
from tests.data.tables import store
from tests.examples import sampled

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def lines(name: str, values: list[object]) -> str:
    return "\n".join([name, *("" if value is None else str(value) for value in values)]) + "\n"


def quantiles(column: Column) -> list[float]:
    assert column.quantiles is not None
    return [getattr(column.quantiles, name) for name in QUANTILES]


@sampled(10, 25)
@given(st.lists(st.none() | FINITE, min_size=2, max_size=60).filter(any))
def test_a_quantile_is_the_least_value_that_so_many_rows_do_not_exceed(values: list[float | None]) -> None:
    present = sorted(value for value in values if value is not None)

    with tempfile.TemporaryDirectory() as folder:
        column = store(Path(folder), lines("x", [v if v is None else repr(v) for v in values])).column("x")

    wanted = [present[max(math.ceil(round(len(present) * share, 9)), 1) - 1] for share in QUANTILES.values()]
    assert quantiles(column) == wanted


@sampled(10, 25)
@given(st.lists(st.none() | FINITE, min_size=2, max_size=60).filter(any))
def test_every_row_with_a_number_is_in_one_bin_of_the_histogram(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]

    with tempfile.TemporaryDirectory() as folder:
        column = store(Path(folder), lines("x", [v if v is None else repr(v) for v in values])).column("x")

    if min(present) < max(present) and column.values is None:
        assert column.histogram is not None
        assert (len(column.histogram), sum(column.histogram)) == (HISTOGRAM_BINS, len(present))
        assert column.histogram[0] > 0
        assert column.histogram[-1] > 0
    else:
        assert column.histogram is None


def test_a_histogram_has_the_bins_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    normal, many = rng.normal(5, 2, 3_000), rng.integers(-50_000, 50_001, 3_000)

    stored = store(tmp_path, "\n".join(["a,b", *(f"{a!r},{b}" for a, b in zip(normal.tolist(), many, strict=True))]))

    assert stored.column("a").histogram == np.histogram(normal, HISTOGRAM_BINS)[0].tolist()
    assert stored.column("b").histogram == np.histogram(many, HISTOGRAM_BINS)[0].tolist()
    assert quantiles(stored.column("b")) == np.quantile(many, list(QUANTILES.values()), method="inverted_cdf").tolist()


def test_a_column_that_lists_its_values_needs_no_histogram(tmp_path: Path) -> None:
    column = store(tmp_path, lines("x", [1, 2, 2, 3])).column("x")

    assert (column.values is not None, column.histogram) == (True, None)
    assert quantiles(column) == [1, 1, 2, 2, 3]


def test_of_very_many_rows_quantiles_are_those_of_rows_drawn_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "QUANTILE_ROWS", 5_000)

    found = quantiles(store(tmp_path, lines("x", [i / 20_000 for i in range(20_000)])).column("x"))

    assert found == pytest.approx(list(QUANTILES.values()), abs=0.03)


def test_dates_have_ends_and_a_histogram_between_them(tmp_path: Path) -> None:
    days = [f"2020-01-{day:02}" for day in (1, 1, 2, 11, 21)]

    column = store(tmp_path, lines("when", [*days, None])).column("when")

    assert (column.min, column.max) == ("2020-01-01 00:00:00", "2020-01-21 00:00:00")
    assert column.histogram == [2, 1, *[0] * 8, 1, *[0] * 8, 1]
    assert (column.mean, column.std, column.quantiles, column.values) == (None, None, None, None)
    json.loads(column.model_dump_json())


def test_times_of_day_have_ends_too(tmp_path: Path) -> None:
    column = store(tmp_path, lines("at", ["12:30", "08:00", "23:59:59"])).column("at")

    assert (column.type, column.min, column.max) == ("datetime", "08:00:00", "23:59:59")
    assert column.histogram is not None


@pytest.mark.parametrize("extreme", ["infinity", "-infinity"])
def test_a_date_that_is_infinite_is_no_end(tmp_path: Path, extreme: str) -> None:
    dates = f"SELECT unnest(['2020-01-01', '{extreme}', '2020-01-03'])::TIMESTAMP AS when_"
    duckdb.sql(dates).write_parquet(str(tmp_path / "dates.parquet"))

    column = store(tmp_path, tmp_path / "dates.parquet").column("when_")

    assert (column.min, column.max) == ("2020-01-01 00:00:00", "2020-01-03 00:00:00")
    assert sum(column.histogram or []) == 2
