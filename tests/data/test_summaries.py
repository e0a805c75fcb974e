"""Summaries of numbers in one pass: moments to rounding, quantiles within their bound."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.data.preprocess import summaries
from service.data.preprocess.scaling import moments
from service.data.preprocess.summaries import NumberSummary

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=False, width=64), max_size=60)


def summary_of(values: NDArray[np.float64], chunk: int, quantiles: bool = False) -> NumberSummary:
    found = NumberSummary(quantiles)
    for first in range(0, len(values), chunk):
        found.add(values[first : first + chunk])
    return found


@given(NUMBERS, st.integers(1, 60))
def test_moments_are_those_of_all_values_at_once(numbers: list[float], chunk: int) -> None:
    values = np.array(numbers, dtype=np.float64)
    mean, deviation = moments(values)
    largest = float(np.nanmax(np.abs(values), initial=0.0))

    found = summary_of(values, chunk).moments()

    assert found[0] == pytest.approx(mean, rel=1e-9, abs=1e-14 * largest)
    assert found[1] == pytest.approx(deviation, rel=1e-7, abs=1e-7 * largest)


@given(NUMBERS, st.integers(1, 60))
def test_few_values_are_kept_as_they_are(numbers: list[float], chunk: int) -> None:
    values = np.array(numbers, dtype=np.float64)

    kept = summary_of(values, chunk, quantiles=True).representatives()

    assert kept.tolist() == np.sort(values[~np.isnan(values)]).tolist()


@given(st.integers(0, 99), st.integers(65, 5_000), st.integers(1, 700), st.sampled_from(["normal", "steps", "sorted"]))
def test_ranks_of_quantiles_are_wrong_by_no_more_than_the_bound(seed: int, rows: int, chunk: int, kind: str) -> None:
    values = np.random.default_rng(seed).standard_normal(rows)
    values = {"normal": values, "steps": np.round(values), "sorted": np.sort(values)}[kind]
    buffer = 64
    with patch.object(summaries, "BUFFER", buffer), patch.object(summaries, "REPRESENTATIVES", 2 * buffer):
        kept = summary_of(values, chunk, quantiles=True).representatives()

    bound = np.ceil(np.log2(rows / buffer)) / (2 * buffer) + 1 / (2 * buffer) + 1 / rows
    places = (np.arange(len(kept)) + 0.5) / len(kept)
    least = np.searchsorted(np.sort(values), kept, side="left") / rows
    most = np.searchsorted(np.sort(values), kept, side="right") / rows
    assert (least <= places + bound).all()
    assert (most >= places - bound).all()
    assert (kept[0], kept[-1]) == (values.min(), values.max())


@given(st.integers(0, 99), st.integers(1, 300), st.integers(1, 300))
def test_quantiles_do_not_depend_on_how_rows_are_cut_into_chunks(seed: int, one: int, other: int) -> None:
    values = np.random.default_rng(seed).standard_normal(1_000)
    with patch.object(summaries, "BUFFER", 32), patch.object(summaries, "REPRESENTATIVES", 64):
        kept = [summary_of(values, chunk, quantiles=True).representatives().tolist() for chunk in (one, other)]

    assert kept[0] == kept[1]
