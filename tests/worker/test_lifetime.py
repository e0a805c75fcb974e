"""When a worker exits by itself."""

from __future__ import annotations

import time

import pytest

from service.worker.lifetime import Lifetime


def test_an_idle_worker_exits_after_its_time_and_a_busy_one_starts_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    life = Lifetime(idle_seconds=30.0, max_jobs=0)

    now = 125.0
    assert life.end(busy=True, reserved=False, claimed=1) is None
    now = 154.0
    assert life.end(busy=False, reserved=False, claimed=1) is None
    now = 155.0
    assert life.end(busy=False, reserved=False, claimed=1) == "it was idle for 30 s"
    assert life.jobs_left(1_000) is None


def test_a_worker_that_waits_for_others_of_its_gang_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    life = Lifetime(idle_seconds=30.0, max_jobs=2)

    now = 200.0
    assert life.end(busy=False, reserved=True, claimed=1) is None
    now = 229.0
    assert life.end(busy=False, reserved=False, claimed=1) is None
    assert life.end(busy=False, reserved=True, claimed=2) == "it has trained 2 jobs"


def test_a_worker_exits_when_its_last_job_has_left_it() -> None:
    life = Lifetime(idle_seconds=0.0, max_jobs=5)

    assert (life.jobs_left(0), life.jobs_left(3), life.jobs_left(5)) == (5, 2, 0)
    assert life.end(busy=False, reserved=False, claimed=4) is None
    assert life.end(busy=True, reserved=False, claimed=5) is None
    assert life.end(busy=False, reserved=False, claimed=5) == "it has trained 5 jobs"


def test_a_worker_without_limits_stays() -> None:
    assert Lifetime(0.0, 0).end(busy=False, reserved=False, claimed=10**6) is None
