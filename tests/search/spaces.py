"""Search spaces for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from service.spec.space import ChoiceParameter, Parameter
from service.spec.sweep import SweepSpec

BASE: dict[str, Any] = {"data": {"kind": "synthetic"}}


def space_of(space: dict[str, Any]) -> dict[str, Parameter]:
    """The space as a sweep's spec has it."""
    search = {"kind": "random", "trials": 1}
    found = SweepSpec.model_validate({"base": BASE, "space": space, "search": search}).space
    assert found is not None
    return found


def _bounds(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)


def parameters() -> st.SearchStrategy[dict[str, Any]]:
    """Parameters without conditions, as JSON."""
    return st.one_of(
        st.builds(lambda b: {"uniform": b}, _bounds(st.floats(-1e6, 1e6))),
        st.builds(lambda b: {"log": b}, _bounds(st.floats(1e-9, 1e6))),
        st.builds(lambda b: {"int": b}, _bounds(st.integers(-1_000, 1_000))),
        st.builds(lambda b: {"log_int": b}, _bounds(st.integers(1, 100_000))),
        st.builds(lambda c: {"choice": c}, st.lists(st.integers(-3, 3), min_size=1, max_size=4, unique=True)),
    )


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Spaces, as JSON, some of whose parameters depend on choices of earlier ones."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True))
    space: dict[str, Any] = {}
    for name in names:
        parameter = draw(parameters())
        choices = [other for other, each in space.items() if "choice" in each]
        if choices and draw(st.booleans()):
            other = draw(st.sampled_from(choices))
            values = draw(st.lists(st.sampled_from(space[other]["choice"]), min_size=1, unique=True))
            parameter["when"] = {other: values}
        space[name] = parameter
    return {name: space[name] for name in draw(st.permutations(list(space)))}


def allowed(parameter: Parameter, value: Any) -> bool:
    """Whether the parameter can have this value."""
    if isinstance(parameter, ChoiceParameter):
        return value in parameter.choice
    (low, high) = next(
        getattr(parameter, kind) for kind in ("uniform", "log", "int", "log_int") if hasattr(parameter, kind)
    )
    return bool(low <= value <= high) and (type(value) is int) == hasattr(parameter, "int") | hasattr(
        parameter, "log_int"
    )
