"""How many actors there should be, and which of them stop first."""

from __future__ import annotations

import time

import pytest

from service.cluster.scaling import SILENT_SECONDS, ActorState, Scaling, steps_down

LONG_AGO = time.monotonic() - SILENT_SECONDS - 1.0


def actor(number: int, *, pid: int = 7, **fields: bool | float) -> ActorState:
    return ActorState(f"worker-{number}", "node", pid and pid + number, 1, **{"answered": True, **fields})  # type: ignore[arg-type]


def pending(number: int, **fields: float) -> ActorState:
    return ActorState(f"worker-{number}", **fields)


def test_there_are_more_workers_at_once_and_fewer_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scaling = Scaling(1, 5, trainers=4, patience=30.0)

    assert [scaling.wanted(trainers) for trainers in (0, 9, 100)] == [1, 3, 5]
    now = 129.0
    assert scaling.wanted(4) == 5
    now = 130.0
    assert scaling.wanted(4) == 1


def test_idle_workers_stop_before_busy_ones() -> None:
    actors = [actor(number) for number in range(3)]
    occupied = {actors[0].worker: True, actors[1].worker: False, actors[2].worker: True}

    assert steps_down(actors, 3, occupied) == []
    assert steps_down(actors, 2, occupied) == [("stop", "worker-1")]
    assert steps_down(actors, 0, occupied)[0] == ("stop", "worker-1")


def test_pending_actors_go_before_idle_ones() -> None:
    actors = [actor(0), pending(1, heard_at=LONG_AGO)]

    assert steps_down(actors, 1, {actors[0].worker: False}) == [("remove", "worker-1")]


def test_an_actor_that_stops_is_not_counted_and_removed_when_it_has() -> None:
    actors = [actor(0, stopping=True), actor(1, stopping=True, stopped=True), actor(2)]

    assert steps_down(actors, 1, {each.worker: True for each in actors}) == [("remove", "worker-1")]


def test_an_actor_that_does_not_answer_is_drained_and_not_killed() -> None:
    silent = actor(0, answered=False, heard_at=LONG_AGO)

    assert steps_down([silent], 0, {silent.worker: True}) == [("stop", "worker-0")]
    stopping = actor(0, answered=False, heard_at=LONG_AGO, stopping=True)
    assert steps_down([stopping], 0, {silent.worker: True}) == []


def test_an_actor_is_removed_when_its_worker_sends_no_heartbeats_either() -> None:
    for state in (
        actor(0, answered=False, heard_at=LONG_AGO),
        actor(0, answered=False, heard_at=LONG_AGO, stopping=True),
    ):
        assert steps_down([state], 0, {}) == [("remove", "worker-0")]
    assert steps_down([actor(0, answered=False)], 0, {}) == [("stop", "worker-0")]
    assert steps_down([pending(0)], 0, {}) == []  # it may have no time to answer


def test_an_actor_is_described_as_it_answered_last() -> None:
    described = [pending(0), actor(0), actor(0, pid=0), actor(0, answered=False), actor(0, stopping=True)]

    assert [f"{each}" for each in described] == [
        "pending",
        "runs on node, process 7",
        "its worker starts",
        "does not answer",
        "stopping",
    ]
