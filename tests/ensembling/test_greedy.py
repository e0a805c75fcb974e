"""Greedy ensemble selection, against a search that recomputes every ensemble."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ensembling.greedy import ROUNDS, log_loss, rmse_of, select


def probabilities(rng: np.random.Generator, candidates: int, rows: int) -> np.ndarray:
    return rng.uniform(0.0, 1.0, (candidates, rows))


@given(seed=st.integers(0, 10_000), candidates=st.integers(1, 5), rows=st.integers(1, 8), rounds=st.integers(1, 8))
def test_each_round_adds_the_candidate_with_the_lowest_loss(seed: int, candidates: int, rows: int, rounds: int) -> None:
    values = probabilities(np.random.default_rng(seed), candidates, rows).round(1)  # with ties

    bag: list[int] = []
    for _ in range(rounds):

        def loss_with(each: int) -> float:
            of_rows = [sum(values[m, row] for m in [*bag, each]) / (len(bag) + 1) for row in range(rows)]
            return -sum(math.log(max(p, 1e-7)) for p in of_rows) / rows

        losses = [loss_with(each) for each in range(candidates)]
        bag.append(next(m for m in range(candidates) if losses[m] <= min(losses) + 1e-12))

    counts = select(values, log_loss, rounds)
    of_counts = np.average(values, axis=0, weights=counts)
    of_bag = np.average(values, axis=0, weights=np.bincount(bag, minlength=candidates))
    assert counts.sum() == rounds
    assert log_loss(of_counts) == pytest.approx(log_loss(of_bag), rel=1e-9)


@given(seed=st.integers(0, 10_000))
def test_with_two_candidates_it_is_close_to_the_best_ensemble_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=30)
    values = truth + rng.normal(size=(2, 30)) * rng.uniform(0.5, 2.0, (2, 1))
    loss = rmse_of(truth)

    found = loss(np.average(values, axis=0, weights=select(values, loss)))

    every = (np.mean([values[m] for m in bag], axis=0) for bag in combinations_with_replacement(range(2), ROUNDS))
    assert found <= min(map(loss, every)) * 1.01


def test_a_candidate_that_helps_nobody_is_left_out() -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0])
    low, high, wrong = truth - 1.0, truth + 1.0, truth + 50.0

    assert select(np.stack([low, wrong, high]), rmse_of(truth)).tolist() == [10, 0, 10]


def test_of_equal_candidates_the_first_is_taken() -> None:
    same = np.full((3, 4), 0.5)

    assert select(same, log_loss).tolist() == [ROUNDS, 0, 0]


def test_a_candidate_without_a_number_is_not_taken() -> None:
    truth = np.zeros(3)

    assert select(np.stack([np.array([np.nan, 0.0, 0.0]), np.ones(3)]), rmse_of(truth)).tolist() == [0, ROUNDS]


def test_a_probability_of_zero_has_a_finite_loss() -> None:
    assert log_loss(np.array([0.0, 1.0])) == pytest.approx(-math.log(1e-7) / 2)
