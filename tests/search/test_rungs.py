"""Rungs of successive halving and Hyperband, and the decision at the end of each."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from service.search.rungs import Bracket, Rung, assigned, decide, halving, hyperband, levels

ETAS, EPOCHS, TRIALS = st.integers(2, 6), st.integers(1, 500), st.integers(1, 600)
VALUES = st.dictionaries(
    st.integers(1, 50), st.one_of(st.none(), st.floats(), st.sampled_from([1.0, 2.0])), min_size=1, max_size=30
)


def test_rungs_multiply_the_epochs_and_divide_the_trials() -> None:
    assert levels(81, 3, None) == (1, 3, 9, 27, 81)
    assert levels(100, 4, 2) == (2, 8, 32, 100)
    assert levels(100, 3, 5) == (5, 15, 45, 100)
    assert halving(512, (2, 8, 32, 100), 4).rungs == (Rung(512, 2), Rung(128, 8), Rung(32, 32), Rung(8, 100))


def test_a_trial_that_is_alone_trains_to_the_end() -> None:
    assert halving(4, (2, 8, 32, 100), 4).rungs == (Rung(4, 2), Rung(1, 100))
    assert halving(1, (2, 8, 32, 100), 4).rungs == (Rung(1, 100),)


def test_hyperband_has_the_proportions_of_its_paper() -> None:
    """Table 1 of Li et al. (2018): R = 81, eta = 3."""
    brackets = hyperband(81 + 34 + 15 + 8 + 5, levels(81, 3, 1), 3)

    assert [[(rung.trials, rung.epochs) for rung in bracket.rungs] for bracket in brackets] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


@given(TRIALS, EPOCHS, ETAS, st.one_of(st.none(), st.integers(1, 50)))
def test_brackets_have_all_trials_and_end_at_max_epochs(
    trials: int, max_epochs: int, eta: int, min_epochs: int | None
) -> None:
    epochs = levels(max_epochs, eta, min_epochs)

    for brackets in ((halving(trials, epochs, eta),), hyperband(trials, epochs, eta)):
        assert sum(bracket.trials for bracket in brackets) == trials
        for bracket in brackets:
            assert bracket.rungs[-1].epochs == max_epochs
            for lower, upper in zip(bracket.rungs, bracket.rungs[1:], strict=False):
                assert upper.trials == max(lower.trials // eta, 1)
                assert lower.trials > 1
                assert lower.epochs < upper.epochs


@given(TRIALS, EPOCHS, ETAS, st.integers(0, 100))
def test_each_trial_is_in_one_bracket(trials: int, max_epochs: int, eta: int, seed: int) -> None:
    brackets = hyperband(trials, levels(max_epochs, eta, None), eta)

    found = assigned(brackets, seed)

    assert len(found) == trials
    assert [found.count(index) for index in range(len(brackets))] == [bracket.trials for bracket in brackets]


def test_epochs_of_a_bracket_are_counted_from_rung_to_rung() -> None:
    assert Bracket((Rung(8, 2), Rung(2, 10))).epochs == 8 * 2 + 2 * 8


@given(VALUES, st.integers(1, 40), st.booleans())
def test_the_best_are_promoted_and_none_without_a_value(
    values: dict[int, float | None], promotions: int, larger: bool
) -> None:
    result = decide(values, promotions, larger_is_better=larger)

    finite = {trial: value for trial, value in values.items() if value is not None and math.isfinite(value)}
    assert sorted((*result.promoted, *result.pruned)) == sorted(values)
    assert len(result.promoted) == min(promotions, len(finite))
    for trial in result.promoted:
        for other in finite.keys() - set(result.promoted):
            first, second = (-finite[trial], -finite[other]) if larger else (finite[trial], finite[other])
            assert (first, trial) < (second, other)


@given(VALUES, st.integers(1, 40), st.booleans(), st.randoms())
def test_the_decision_does_not_depend_on_the_order_of_ending(
    values: dict[int, float | None], promotions: int, larger: bool, shuffler: object
) -> None:
    shuffled = list(values.items())
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]

    assert decide(dict(shuffled), promotions, larger_is_better=larger) == decide(
        values, promotions, larger_is_better=larger
    )
