"""Whole searches without training: budgets, promotions, prunings and their reasons."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.sweep import DecisionKind
from service.errors import InvalidSpec
from service.search.state import SearchState, TrialResult
from service.search.steps import next_step, planned_epochs
from service.search.tpe import propose
from service.spec.space import as_text
from service.spec.sweep import SweepSpec
from tests.search.simulation import Simulation, curve

SPACE = {"optimizer.lr": {"log": [1e-4, 0.1]}, "batch_size": {"int": [16, 256]}}


def sweep(max_epochs: int = 40, **fields: Any) -> SweepSpec:
    base = {"data": {"kind": "synthetic"}, "max_epochs": max_epochs}
    return SweepSpec.model_validate({"base": base, **fields})


def searched(search: dict[str, Any], **fields: Any) -> SweepSpec:
    return sweep(**{"space": SPACE, "search": search, **fields})


@st.composite
def searches(draw: st.DrawFn) -> SweepSpec:
    kind = draw(st.sampled_from(["random", "halving", "hyperband"]))
    search: dict[str, Any] = {"kind": kind, "trials": draw(st.integers(1, 60)), "seed": draw(st.integers(0, 99))}
    if kind != "random":
        search |= {"eta": draw(st.integers(2, 5)), "min_epochs": draw(st.one_of(st.none(), st.integers(1, 39)))}
    if draw(st.booleans()):
        search["epochs"] = draw(st.integers(40, 2_000))
    folds = draw(st.sampled_from([None, 2]))
    if folds and "epochs" in search:
        search["epochs"] += 80
    return searched(search, folds=folds)


@given(searches())
def test_the_budget_of_epochs_is_never_exceeded(spec: SweepSpec) -> None:
    simulation = Simulation(spec).run()

    assert spec.search is not None
    planned = planned_epochs(spec, [each.point or {} for each in Simulation(spec).step()])
    assert simulation.epochs <= planned <= (spec.search.epochs or 10**9)
    assert simulation.decisions[-1].kind is DecisionKind.stopped
    assert [each.trial for each in simulation.state().proposals] == list(range(1, len(simulation.limits) + 1))


@given(searches())
def test_decisions_depend_on_what_is_recorded_alone(spec: SweepSpec) -> None:
    decisions = Simulation(spec).run().decisions

    simulation = Simulation(spec)
    while not simulation.state().stopped:
        shuffled = SearchState(spec, simulation.decisions, dict(reversed(simulation.state().results.items())))
        assert next_step(shuffled, admits=lambda _: True, propose=propose) == simulation.step()
    assert simulation.decisions == decisions


@given(searches())
def test_halving_prunes_or_promotes_each_trial_of_a_rung_once(spec: SweepSpec) -> None:
    simulation = Simulation(spec).run()

    decided = [each for each in simulation.decisions if each.kind in (DecisionKind.promoted, DecisionKind.pruned)]
    assert max(Counter((each.trial, each.kind, each.rung) for each in decided).values(), default=1) == 1
    pruned = [each.trial for each in decided if each.kind is DecisionKind.pruned]
    assert len(pruned) == len(set(pruned))
    assert all(each.reason and each.value is not None for each in decided)
    for trial, limit in simulation.limits.items():
        assert (trial in pruned) == simulation.result(trial).waiting
        assert limit is None or trial in pruned or not simulation.result(trial).waiting


@given(st.integers(1, 200), st.integers(1, 100), st.integers(2, 5), st.integers(1, 3), st.booleans())
def test_a_search_whose_trials_never_stop_early_takes_the_planned_epochs(
    trials: int, max_epochs: int, eta: int, replicates: int, brackets: bool
) -> None:
    search = {"kind": "hyperband" if brackets else "halving", "trials": trials, "eta": eta}
    spec = searched(search, max_epochs=max_epochs, replicates=replicates)
    simulation = Simulation(spec, curves=lambda point, job: [1.0 - 0.001 * e for e in range(max_epochs)]).run()

    assert simulation.epochs == planned_epochs(spec, [{}] * trials)


def test_the_rungs_of_a_grid_say_who_was_promoted_and_why() -> None:
    spec = sweep(
        grid={"optimizer.lr": [0.1, 0.01], "seed": [0, 1]}, search={"kind": "halving", "eta": 2, "min_epochs": 10}
    )
    level = {(0.1, 0): 0.5, (0.1, 1): 0.25, (0.01, 0): 0.125, (0.01, 1): 0.25}
    simulation = Simulation(spec, curves=lambda point, _: [level[point["optimizer.lr"], point["seed"]]] * 40).run()

    assert [(each.kind.value, each.trial, each.rung, each.epochs) for each in simulation.decisions] == [
        *(("proposed", trial, 1, 10) for trial in (1, 2, 3, 4)),
        ("promoted", 3, 2, 20),
        ("promoted", 2, 2, 20),
        ("pruned", 4, 1, 10),
        ("pruned", 1, 1, 10),
        ("promoted", 3, 3, None),
        ("pruned", 2, 2, 20),
        ("stopped", None, None, None),
    ]
    assert [simulation.decisions[index].reason for index in (0, 4, 6, -1)] == [
        "a point of the grid",
        "rank 1 of 4 with val_loss 0.125 after up to 10 epochs",
        "rank 3 of 4 with val_loss 0.25 after up to 10 epochs; the last one promoted has 0.25",
        "the last rung has ended; 80 epochs were trained",
    ]


def test_a_trial_without_a_value_is_pruned_and_a_search_without_any_ends() -> None:
    some = Simulation(searched({"kind": "halving", "trials": 8}), curves=lambda point, _: [None] * 40).run()

    assert Counter(each.kind for each in some.decisions) == {
        DecisionKind.proposed: 8,
        DecisionKind.pruned: 8,
        DecisionKind.stopped: 1,
    }


def test_a_random_search_goes_on_while_its_epochs_last() -> None:
    spec = searched({"kind": "random", "trials": 50, "epochs": 200})
    simulation = Simulation(spec, curves=lambda point, _: [1.0] * 10)  # of 40: all stop early

    batches = []
    while found := simulation.step():
        batches.append(sum(each.kind is DecisionKind.proposed for each in found))

    assert batches == [5, 3, 3, 2, 1, 1, 1, 1, 0]
    assert simulation.epochs == 170
    plain = Simulation(searched({"kind": "random", "trials": 50})).run()
    assert [each.point for each in plain.state().proposals][: len(simulation.limits)] == [
        each.point for each in simulation.state().proposals
    ]


@pytest.mark.slow
@settings(max_examples=5)
@given(st.integers(0, 50), st.integers(1, 9))
def test_tpe_proposes_in_batches_and_begins_with_the_trials_of_random_search(seed: int, batch: int) -> None:
    spec = searched({"kind": "tpe", "trials": 20, "seed": seed, "batch": batch, "startup_trials": 6})
    simulation = Simulation(spec)

    sizes = [len(simulation.step()) for _ in range(2)]
    simulation.run()

    points = [each.point for each in simulation.state().proposals]
    drawn = Simulation(searched({"kind": "random", "trials": 6, "seed": seed})).run().state().proposals
    assert sizes == [6, batch]
    assert points[:6] == [each.point for each in drawn]
    assert len(set(map(as_text, points))) == 20
    assert Simulation(spec).run().decisions == simulation.decisions


@pytest.mark.slow
def test_networks_that_are_too_large_are_proposed_again_as_others() -> None:
    spec = searched({"kind": "tpe", "trials": 24, "startup_trials": 6})

    simulation = Simulation(spec, admits=lambda point: point["batch_size"] <= 60).run()

    sizes = [each.point["batch_size"] for each in simulation.state().proposals if each.point]
    assert len(sizes) == 24
    assert max(sizes) <= 60


def test_no_step_is_taken_while_a_job_is_live() -> None:
    spec = searched({"kind": "halving", "trials": 4})
    simulation = Simulation(spec)
    simulation.step()
    results = {**simulation.state().results, 3: TrialResult(None, 0, live=True)}

    assert next_step(SearchState(spec, simulation.decisions, results), admits=lambda _: True, propose=propose) == []


def test_after_the_budget_of_seconds_waiting_trials_are_pruned() -> None:
    spec = searched({"kind": "random", "trials": 3, "seconds": 10})
    simulation = Simulation(spec)
    simulation.step()
    results = {
        1: TrialResult(0.5, 7, live=True),
        2: TrialResult(None, 0, live=True, waiting=True),
        3: TrialResult(None, 0, live=True, waiting=True),
    }

    def decided(seconds: float) -> list[tuple[str, int | None]]:
        state = SearchState(spec, simulation.decisions, results, seconds)
        return [(each.kind.value, each.trial) for each in next_step(state, admits=lambda _: True, propose=propose)]

    assert decided(9.9) == []
    assert decided(10) == [("pruned", 2), ("pruned", 3), ("stopped", None)]


@pytest.mark.parametrize(
    ("search", "fields", "pointer", "message"),
    [
        ({"kind": "random", "trials": 3, "epochs": 39}, {}, "/search/epochs", "at least 40"),
        ({"kind": "tpe", "trials": 3, "epochs": 119}, {"replicates": 3}, "/search/epochs", "at least 120"),
        ({"kind": "halving", "trials": 3, "epochs": 39}, {}, "/search/epochs", "at least 40"),
        ({"kind": "halving", "epochs": 40}, {"space": None, "grid": {"seed": [1, 2]}}, "/search/epochs", "at least 41"),
        ({"kind": "random", "trials": 3}, {"space": {"seed": {"int": [1, 2]}}}, "/search/trials", "no more than 2"),
        ({"kind": "hyperband", "trials": 3}, {"space": {"seed": {"int": [1, 2]}}}, "/search/trials", "no more than 2"),
    ],
)
def test_a_budget_or_space_that_is_too_small_is_refused_before_anything_trains(
    search: dict[str, Any], fields: dict[str, Any], pointer: str, message: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        Simulation(searched(search, **fields)).step()

    (error,) = refused.value.field_errors
    assert error.pointer == pointer
    assert message in error.message


def test_curves_of_the_simulation_differ() -> None:
    assert curve({"a": 1}, 0) != curve({"a": 2}, 0)
