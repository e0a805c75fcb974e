"""The life of a job: which state follows which, and ids that sort by time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.lifecycle import TRANSITIONS, Status, new_id

MOVES = {
    ("queued", "running"), ("queued", "paused"), ("queued", "cancelled"),
    ("running", "queued"), ("running", "paused"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"),
    ("paused", "queued"), ("paused", "cancelled"),
}  # fmt: skip


def test_only_the_moves_of_the_drawing_exist() -> None:
    assert {(before.value, after.value) for before, following in TRANSITIONS.items() for after in following} == MOVES


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("status", Status)
def test_a_state_that_nothing_follows_is_terminal(status: Status) -> None:
    assert status.terminal == (status in {Status.succeeded, Status.failed, Status.cancelled})


def test_every_live_state_can_be_cancelled_and_can_end_well() -> None:
    def reachable(status: Status, seen: frozenset[Status] = frozenset()) -> frozenset[Status]:
        for following in TRANSITIONS[status] - seen:
            seen = reachable(following, seen | {following})
        return seen

    for status in Status:
        if not status.terminal:
            assert Status.cancelled in TRANSITIONS[status]
            assert Status.succeeded in reachable(status)


def test_ids_of_one_process_sort_in_the_order_they_were_made() -> None:
    ids = [new_id("job") for _ in range(100_000)]

    assert ids == sorted(set(ids))


def test_ids_sort_by_time_even_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("job")
    monkeypatch.setattr(time, "time_ns", lambda: 1)

    assert new_id("job") > before


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(new_id, ["ds"] * 20_000))

    assert len(set(ids)) == len(ids)
    assert all(len(made) == len("ds_") + 24 and made.startswith("ds_") for made in ids)
