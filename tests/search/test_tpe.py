"""Proposals of TPE: reproducible, within the space and its constraints, and better than random."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Unavailable
from service.search import tpe_process
from service.search.sampling import draw_all, meets
from service.search.tpe import propose
from service.search.tpe_process import TpeProcess
from service.search.tpe_request import TpeRequest
from service.spec.search import Constraint, TpeSearch
from service.spec.space import as_text, used
from tests.search.spaces import allowed, space_of, spaces

pytestmark = pytest.mark.slow


def request(space: dict[str, Any], trials: int = 12, count: int = 4, **fields: Any) -> TpeRequest:
    """A request after some trials drawn at random, whose values are their sums; every fifth has none."""
    known, search = space_of(space), TpeSearch(kind="tpe", trials=100, **fields)
    points = list(islice(draw_all(known, search.constraints, 0), trials))
    values = [
        None if index % 5 == 4 else float(sum(v for v in point.values() if isinstance(v, int | float)))
        for index, point in enumerate(points)
    ]
    return TpeRequest(known, search, points, values, False, count)


@settings(max_examples=25)
@given(spaces(), st.integers(1, 8), st.integers(0, 100))
def test_proposals_are_new_points_of_the_space(space: dict[str, Any], count: int, seed: int) -> None:
    asked = request(space, count=count, seed=seed)

    points = propose(asked)

    assert len({*map(as_text, points), *map(as_text, asked.points)}) == len(points) + len(asked.points)
    for point in points:
        assert [name for name, each in asked.space.items() if used(each, point)] == list(point)
        assert all(allowed(asked.space[name], value) for name, value in point.items())


SPACE = {
    "x": {"uniform": [-5, 5]},
    "kind": {"choice": ["a", "b", [3]]},
    "y": {"log": [1e-3, 1], "when": {"kind": ["b"]}},
}


def test_a_batch_is_a_function_of_its_request_in_any_process() -> None:
    asked = request(SPACE)

    with TpeProcess() as process:
        first, again = process.propose(asked), process.propose(asked)

    assert first == again == propose(asked)
    assert propose(request(SPACE, seed=1)) != first


def test_proposals_meet_the_constraints_and_avoid_refused_points() -> None:
    constraint = Constraint(terms={"x": 1, "y": -1}, max=-2)
    asked = request(SPACE, constraints=[constraint], count=10)

    points = propose(asked)
    others = propose(TpeRequest(**{**vars(asked), "refused": points}))

    assert all(meets([constraint], point) for point in points + others)
    assert not {*map(as_text, points)} & {*map(as_text, others)}


def test_a_finite_space_is_proposed_to_its_last_point() -> None:
    asked = request({"a": {"int": [1, 5]}, "b": {"choice": [1, 2, 3]}}, trials=12, count=10)

    assert len(propose(asked)) == 3


def test_proposals_come_closer_to_the_best_than_random_ones() -> None:
    space = space_of({"x": {"uniform": [-5, 5]}, "y": {"log": [1e-4, 1]}})
    search = TpeSearch(kind="tpe", trials=100)

    def loss(point: dict[str, Any]) -> float:
        return float((point["x"] - 2) ** 2 + abs(point["y"] - 0.01) * 100)

    drawn = list(islice(draw_all(space, [], 0), 64))
    points = drawn[:10]
    while len(points) < 64:
        points += propose(TpeRequest(space, search, points, [loss(point) for point in points], False, 8))

    assert min(map(loss, points)) < min(map(loss, drawn))
    assert sorted(map(loss, points))[32] < sorted(map(loss, drawn))[32] / 2


def test_a_process_that_dies_is_replaced() -> None:
    asked = request(SPACE)

    with TpeProcess() as process:
        first = process.propose(asked)
        assert process._process is not None
        process._process.kill()
        process._process.join()

        assert process.propose(asked) == first


def test_closing_the_process_does_not_wait_for_its_answer() -> None:
    asked = request({f"x{number}": {"uniform": [0, 1]} for number in range(20)}, trials=100, count=10_000)
    answers = list[BaseException]()

    def ask() -> None:
        with pytest.raises(Unavailable) as error:
            process.propose(asked)
        answers.append(error.value)

    process = TpeProcess()
    process.propose(request(SPACE))
    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    process.close()
    thread.join()

    assert time.monotonic() - began < 5
    assert len(answers) == 1


def test_what_prevents_tpe_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpe_process, "TPE", "service.search.no_such_module")
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=tpe_process._serve, args=(theirs,))
    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", lambda *_: None)
        thread.start()
        ours.send(request(SPACE))
        answer = ours.recv()
        ours.close()
        thread.join()

    assert "no_such_module" in str(answer)
