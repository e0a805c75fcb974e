"""Limits of a tenant over several API processes: the error that decision 119 allows, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from service.api.middleware.rate_limit import RateLimiter
from service.api.processes.shared_limits import SharedLimits
from service.api.quota import StorageQuota
from service.errors import QuotaExceeded, RateLimited, TooManyStreams
from service.store.api_usage import DEAD_AFTER, TenantUse, api_usage
from service.store.engine import Database
from service.store.utc import ago

CLOCK = "service.api.middleware.rate_limit.time.monotonic"
RATE = 5.0
STEPS = 10  # simulated steps a second; each process exchanges once a second


class Process:
    """An API process's limits. The test says when it exchanges."""

    def __init__(self, database: Database, *, rate: float = 0.0, streams: int = 100, stored_bytes: int = 0) -> None:
        self.limiter, self.quota = RateLimiter(rate, streams), StorageQuota(stored_bytes)
        self.shared = SharedLimits(database, self.limiter, self.quota)

    def exchange(self) -> None:
        if mine := self.shared.to_tell():
            self.shared.hear(mine, self.tell(mine))

    def tell(self, mine: Mapping[str, TenantUse]) -> Mapping[tuple[str, str], TenantUse]:
        return self.shared.tell(mine)

    def accepts(self, requests: int = 1) -> int:
        """How many of so many requests are accepted."""
        accepted = 0
        for _ in range(requests):
            try:
                self.limiter.request("birds")
            except RateLimited:
                break
            accepted += 1
        return accepted


class SimulatedProcess(Process):
    """One whose database is a dictionary, by process."""

    def __init__(self, told: dict[int, Mapping[str, TenantUse]]) -> None:
        super().__init__(None, rate=RATE)  # type: ignore[arg-type]
        self._told = told

    def tell(self, mine: Mapping[str, TenantUse]) -> Mapping[tuple[str, str], TenantUse]:
        self._told[id(self)] = mine
        others = {process: use for process, use in self._told.items() if process != id(self)}
        return {(tenant, f"{process}"): use for process, uses in others.items() for tenant, use in uses.items()}


# For each process: seconds of a pause, then seconds of so many requests a step, and so on.
TRAFFIC = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6)


def requests_of(traffic: list[tuple[int, int, int]], steps: int) -> list[int]:
    each = [number for pause, busy, requests in traffic for number in [0] * pause + [requests] * busy]
    return (each + [0] * steps)[:steps]


@given(traffic=st.lists(TRAFFIC, min_size=2, max_size=4), offsets=st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_processes_together_accept_at_most_four_seconds_of_requests_more_for_each_further_one(
    traffic: list[list[tuple[int, int, int]]], offsets: list[int]
) -> None:
    now, told, steps = 0.0, dict[int, Mapping[str, TenantUse]](), 150
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CLOCK, lambda: now)
        processes = [SimulatedProcess(told) for _ in traffic]
        asked = [requests_of(each, steps) for each in traffic]
        accepted = []
        for step in range(steps):
            now = step / STEPS
            accepted.append(sum(each.accepts(own[step]) for each, own in zip(processes, asked, strict=True)))
            for process, offset in zip(processes, offsets, strict=False):
                if step % STEPS == offset:
                    process.exchange()

    until = [0, *accumulate(accepted)]
    allowed = RATE * (2 + 4 * (len(processes) - 1))
    for begin in range(steps):
        for end in range(begin, steps):
            assert until[end + 1] - until[begin] <= allowed + RATE * (end - begin) / STEPS


def test_a_process_alone_gets_the_whole_rate_while_others_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = 0.0, dict[int, Mapping[str, TenantUse]]()
    monkeypatch.setattr(CLOCK, lambda: now)
    busy, idle = SimulatedProcess(told), SimulatedProcess(told)
    assert idle.accepts() == 1
    idle.exchange()
    accepted = 0
    for second in range(60):
        now = float(second)
        accepted += busy.accepts(20)
        busy.exchange()

    assert accepted >= RATE * 60


def test_a_rate_is_shared_through_the_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(CLOCK, lambda: now)
    one, other = Process(database, rate=RATE), Process(database, rate=RATE)
    accepted = []
    for second in range(40):
        now = float(second)
        for process in (one, other):
            accepted.append(process.accepts(20))
            process.exchange()

    assert sum(accepted[-40:]) == pytest.approx(20 * RATE, abs=2 * RATE)


def test_streams_of_all_processes_count_after_an_exchange(database: Database) -> None:
    one, other = Process(database, streams=3), Process(database, streams=3)
    with ExitStack() as open_streams:
        for _ in range(2):
            open_streams.enter_context(one.limiter.stream("birds"))
        one.exchange()
        open_streams.enter_context(other.limiter.stream("birds"))
        other.exchange()

        assert (one.limiter.streams("birds"), other.limiter.streams("birds")) == (2, 3)
        with pytest.raises(TooManyStreams), other.limiter.stream("birds"):
            pytest.fail("it opens")
        with other.limiter.stream("fish"):
            pass

    for process in (one, other, one):
        process.exchange()
    assert one.shared.to_tell() == other.shared.to_tell() == {}
    assert one.limiter.streams("birds") == other.limiter.streams("birds") == 0


def test_a_process_without_streams_learns_that_those_of_another_have_ended(database: Database) -> None:
    one, other = Process(database, streams=1), Process(database, streams=1)
    with one.limiter.stream("birds"), other.limiter.stream("birds"):
        one.exchange()
        other.exchange()
    other.exchange()
    assert other.limiter.streams("birds") == 1  # as far as it knows
    one.exchange()

    other.exchange()

    with other.limiter.stream("birds"):
        pass
    other.exchange()
    assert other.shared.to_tell() == {}


def test_streams_of_a_process_that_died_are_given_back(database: Database) -> None:
    one, other = Process(database, streams=1), Process(database, streams=1)
    with one.limiter.stream("birds"), other.limiter.stream("birds"):
        one.exchange()
        other.exchange()
    other.exchange()
    with database.transaction() as connection:
        connection.execute(update(api_usage).values(seen_at=ago(connection, DEAD_AFTER)))

    other.exchange()

    assert other.limiter.streams("birds") == 0


def test_processes_that_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = 0.0, dict[int, Mapping[str, TenantUse]]()
    monkeypatch.setattr("time.monotonic", lambda: now)
    stays, *replaced = (SimulatedProcess(told) for _ in range(11))
    for hour, process in enumerate(replaced):
        now = 3_600.0 * hour
        for each in (process, stays):
            each.accepts()
            each.exchange()
        del told[id(process)]

    assert len(stays.shared._requests) <= 2


def test_unfinished_uploads_of_all_processes_count(database: Database) -> None:
    one, other = Process(database, stored_bytes=100), Process(database, stored_bytes=100)
    birds = database.of("birds")
    with one.quota.upload(birds, "birds") as large, other.quota.upload(birds, "birds") as small:
        large.resize(90)
        small.resize(1)
        other.quota.check(birds, "birds", 20)
        one.exchange()
        other.exchange()
        with pytest.raises(QuotaExceeded, match="91 are being uploaded"):
            other.quota.check(birds, "birds", 20)


def test_an_idle_process_tells_nothing(database: Database) -> None:
    assert Process(database, rate=RATE).shared.to_tell() == {}
