"""The life of a job: which state follows which, and ids that sort by time."""

from __future__ import annotations

import pytest

from service.lifecycle import TRANSITIONS, Status

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
