"""A replayed search is the search that would have been: compared with searches whose trials do train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.status import Status
from service.search.replay import Curve, Recorded, Stop, Trial, replay_halving, replay_stopping
from service.spec.early_stopping import Patience
from service.spec.sweep import SweepSpec
from service.spec.sweep_replay import Halving
from tests.examples import sampled
from tests.search.simulation import Simulation, curve
from tests.search.test_steps import searched

MAX_EPOCHS = 40

Limits = Callable[[int], int | None]

rules = st.builds(
    Halving, kind=st.just("halving"), eta=st.integers(2, 5), min_epochs=st.one_of(st.none(), st.integers(1, 39))
)


def halving_search(rule: Halving, trials: int, folds: int | None) -> SweepSpec:
    search = {"kind": "halving", "trials": trials, "eta": rule.eta, "min_epochs": rule.min_epochs}
    return searched(search, folds=folds)


def recorded(simulation: Simulation, limits: Limits = lambda _: None) -> Recorded:
    """The curves of the simulated trials, those with a limit pruned there."""
    return Recorded([trial_of(simulation, number, limits(number)) for number in simulation.limits], MAX_EPOCHS, False)


def trial_of(simulation: Simulation, number: int, limit: int | None) -> Trial:
    point = simulation.state().proposals[number - 1].point or {}
    jobs = range(simulation.spec.jobs_per_point)
    return Trial(number, point, [job_of(f"job_{number}_{job}", curve(point, job), limit) for job in jobs])


def job_of(job: str, losses: list[float | None], limit: int | None = None, **fields: Any) -> Curve:
    seen = losses if limit is None else losses[:limit]
    improvements = [(epoch, loss) for epoch, loss in enumerate(seen, start=1) if loss is not None]
    complete = len(seen) == len(losses)
    status = Status.succeeded if complete else Status.pruned
    values = {"status": status, "complete": complete, "improvements": improvements, "stops": [], **fields}
    return Curve(job=job, epochs=len(seen), **values)


@sampled(25, 100)
@given(rules, st.integers(1, 60), st.sampled_from([None, 2]))
def test_replaying_halving_over_full_curves_gives_the_search_that_trains(
    rule: Halving, trials: int, folds: int | None
) -> None:
    simulation = Simulation(halving_search(rule, trials, folds)).run()

    replayed = replay_halving(recorded(simulation), rule)

    assert replayed.exact
    assert replayed.winner is not None
    assert replayed.winner.trial == simulation.winner
    assert replayed.winner.value == pytest.approx(simulation.state().value(simulation.winner))
    assert replayed.epochs == simulation.epochs
    assert replayed.regret is not None
    assert replayed.regret >= 0


@sampled(25, 100)
@given(rules, st.integers(1, 60), st.sampled_from([None, 2]))
def test_a_halving_search_replayed_on_its_own_pruned_curves_is_itself(
    rule: Halving, trials: int, folds: int | None
) -> None:
    simulation = Simulation(halving_search(rule, trials, folds)).run()
    pruned = recorded(simulation, simulation.limits.__getitem__)

    replayed = replay_halving(pruned, rule)

    assert replayed.exact
    assert (replayed.epochs, replayed.saved, replayed.regret) == (simulation.epochs, 0.0, 0.0)
    assert replayed.winner == pruned.best


@sampled(25, 100)
@given(rules, rules, st.integers(2, 40))
def test_once_the_short_curves_are_revived_another_rule_is_replayed_exactly(
    searched_with: Halving, rule: Halving, trials: int
) -> None:
    simulation = Simulation(halving_search(searched_with, trials, None)).run()
    limits = dict(simulation.limits)
    for _ in range(trials + 1):
        replayed = replay_halving(recorded(simulation, limits.__getitem__), rule)
        if replayed.exact:
            break
        assert all(each.status is Status.pruned for each in replayed.short)
        assert all(each.needed is not None and each.epochs < each.needed for each in replayed.short)
        limits |= {each.trial: None for each in replayed.short}  # they train to the end

    expected = replay_halving(recorded(simulation), rule)

    assert replayed.exact
    assert (replayed.epochs, replayed.winner) == (expected.epochs, expected.winner)


def of_losses(*losses: list[float | None], **fields: Any) -> Recorded:
    """A sweep of trials with one job each."""
    found = [Trial(n, {"lr": n}, [job_of(f"job_{n}", each, **fields)]) for n, each in enumerate(losses, start=1)]
    return Recorded(found, MAX_EPOCHS, False)


def test_the_reason_says_what_halving_would_have_missed() -> None:
    slow = [1.0, 0.9, *[0.1] * 38]
    others: list[list[float | None]] = [[0.5 + n / 10] * 40 for n in range(3)]

    replayed = replay_halving(of_losses(slow, *others), Halving(kind="halving", eta=4, min_epochs=2))

    assert (replayed.epochs, replayed.exact) == (3 * 2 + 40, True)
    assert (replayed.regret, replayed.relative_regret) == (pytest.approx(0.4), pytest.approx(4.0))
    assert replayed.reason == (
        "4 trials to epoch 2, 1 to epoch 40: 46 epochs, 71.2% fewer than on record."
        " It finds trial 2 at 0.5, and misses trial 1 at 0.1."
    )


def test_a_trial_with_a_failed_job_has_no_value() -> None:
    failed = job_of("job_1", [0.1, 0.1], status=Status.failed, complete=False)
    sweep = Recorded([Trial(1, {}, [failed]), *of_losses([0.5] * 40, [0.6] * 40).trials[1:]], MAX_EPOCHS, False)

    replayed = replay_halving(sweep, Halving(kind="halving", eta=2, min_epochs=3))

    assert sweep.best is not None
    assert replayed.winner is not None
    assert (sweep.best.trial, replayed.winner.trial, replayed.exact) == (2, 2, True)


def test_without_any_value_there_is_no_winner() -> None:
    replayed = replay_halving(of_losses([None] * 40, [None] * 40), Halving(kind="halving"))

    assert (replayed.winner, replayed.regret, replayed.exact) == (None, None, True)
    assert replayed.reason.endswith("No trial has a value.")


def test_a_stopping_rule_on_each_job_has_the_sum_of_their_epochs() -> None:
    stopped = [Stop(3, 0.4, exact=True)]
    unknown = [Stop(5, 0.3, exact=False)]
    trials = [
        Trial(1, {}, [job_of("job_1", [0.5, 0.45, 0.4, 0.4, 0.2], stops=stopped)]),
        Trial(2, {}, [job_of("job_2", [0.5, 0.4, 0.3, 0.3, 0.3], stops=unknown)]),
    ]

    replayed = replay_stopping(Recorded(trials, 5, False), Patience(patience=3), 0)

    assert (replayed.epochs, replayed.saved) == (8, pytest.approx(0.2))
    assert replayed.winner is not None
    assert (replayed.winner.trial, replayed.winner.value) == (2, 0.3)
    assert (replayed.regret, replayed.exact) == (pytest.approx(0.1), False)
    assert [(each.job, each.needed) for each in replayed.short] == [("job_2", None)]
    assert replayed.reason.endswith(
        "1 curve is too short to tell (1 ended, which can be forked with another stopping rule)."
    )
