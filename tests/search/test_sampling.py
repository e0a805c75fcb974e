"""Trials drawn from a space."""

from __future__ import annotations

import math
from itertools import islice
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.search.sampling import Exhausted, draw, draw_all, meets
from service.spec.search import Constraint
from service.spec.space import as_text, bounds_of, used
from tests.examples import sampled
from tests.search.spaces import allowed, space_of, spaces


@sampled(30, 100)
@given(spaces(), st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_the_first_trials_are_the_same_for_any_number_of_trials(
    space: dict[str, Any], seed: int, few: int, many: int
) -> None:
    trials = list(islice(draw_all(space_of(space), [], seed), max(few, many)))

    assert list(islice(draw_all(space_of(space), [], seed), min(few, many))) == trials[: min(few, many)]
    assert len(set(map(as_text, trials))) == len(trials)


@sampled(30, 100)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_a_trial_has_a_value_for_each_name_whose_conditions_hold_and_for_no_other(
    space: dict[str, Any], seed: int
) -> None:
    known = space_of(space)

    for point in islice(draw_all(known, [], seed), 5):
        assert [name for name in known if used(known[name], point)] == list(point)
        assert all(allowed(known[name], value) for name, value in point.items())


@sampled(30, 100)
@given(spaces())
def test_the_points_to_validate_have_all_choices_and_both_bounds_of_each_name(space: dict[str, Any]) -> None:
    known = space_of(space)

    points = list(bounds_of(known))

    for name, parameter in known.items():
        values = {as_text(point[name]) for point in points if name in point}
        ends = space[name].get("choice") or (parameter.at(0.0), parameter.at(1.0))
        assert values == set(map(as_text, ends))
    for point in points:
        assert [name for name in known if used(known[name], point)] == list(point)


def test_a_name_is_drawn_independently_of_the_other_names() -> None:
    alone = space_of({"a": {"uniform": [0, 1]}})
    beside = space_of({"b": {"int": [1, 9]}, "a": {"uniform": [0, 1]}})

    first = [point["a"] for point in islice(draw_all(alone, [], 0), 20)]

    assert [point["a"] for point in islice(draw_all(beside, [], 0), 20)] == first


def test_distributions_have_the_shape_that_they_are_named_after() -> None:
    space = space_of(
        {"u": {"uniform": [-1, 3]}, "l": {"log": [1e-4, 1]}, "i": {"int": [1, 4]}, "j": {"log_int": [1, 1_000]}}
    )

    points = list(islice(draw_all(space, [], 0), 2_000))

    assert median(point["u"] for point in points) == pytest.approx(1, abs=0.15)
    assert math.log10(median(point["l"] for point in points)) == pytest.approx(-2, abs=0.15)
    assert all(sum(point["i"] == value for point in points) == pytest.approx(500, abs=80) for value in range(1, 5))
    assert math.log10(median(point["j"] for point in points)) == pytest.approx(1.35, abs=0.15)  # of 0.5 to 1000.5


def test_a_finite_space_is_drawn_completely_and_then_exhausted() -> None:
    space = space_of({"a": {"int": [1, 16]}, "b": {"choice": ["x", "y", "z", [1]]}})

    points = list(draw_all(space, [], 3))

    assert len(points) == 64
    with pytest.raises(Exhausted):
        draw(space, [], 3, 65, taken=set(map(as_text, points)))


@given(st.integers(0, 1_000), st.integers(-5, 5))
def test_trials_meet_the_constraints(seed: int, most: int) -> None:
    space = space_of({"a": {"uniform": [-10, 10]}, "b": {"int": [-10, 10]}})
    constraints = [Constraint(terms={"a": 1, "b": -2}, max=most)]

    for point in islice(draw_all(space, constraints, seed), 10):
        assert point["a"] - 2 * point["b"] <= most


def test_a_constraint_is_ignored_where_a_name_is_not_in_use() -> None:
    constraint = Constraint(terms={"a": 1, "b": 1}, max=0)

    assert meets([constraint], {"a": 5})
    assert not meets([constraint], {"a": 5, "b": 5})


def test_a_network_that_is_too_large_is_drawn_again() -> None:
    space = space_of({"width": {"int": [1, 1_000]}})

    points = islice(draw_all(space, [], 0, admits=lambda point: point["width"] <= 100), 20)

    assert all(point["width"] <= 100 for point in points)
    with pytest.raises(Exhausted):
        draw(space, [], 0, 1, taken=(), admits=lambda _: False)
