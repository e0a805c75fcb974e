"""Decisions of sweeps: recorded once and in order, and none after the sweep has ended."""

from __future__ import annotations

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.sweep import DecisionKind, NewDecision, SweepStatus
from service.store import decisions, sweeps
from service.store.decisions import AlreadyDecided
from service.store.engine import Database
from tests.store import sweep_records

PROPOSED = NewDecision(DecisionKind.proposed, "drawn at random", trial=1, point={"optimizer.lr": 0.1}, epochs=9)
PRUNED = NewDecision(DecisionKind.pruned, "the worse of two", trial=1, rung=1, bracket=1, value=0.5, epochs=3)


def take(database: Database, sweep_id: str, after: int, *new: NewDecision, ends: bool = False) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        decisions.take(connection, sweep_id, after, new, ends=ends)


def test_decisions_are_numbered_and_read_in_pages(database: Database) -> None:
    sweep = sweep_records.create(database, model="m")
    take(database, sweep.id, 0, PROPOSED, PRUNED)

    with database.reading(DEFAULT_TENANT) as connection:
        first, second = decisions.find(connection, sweep.id)
        assert decisions.count(connection, sweep.id) == 2
        assert decisions.find(connection, sweep.id, limit=1) == [first]
        assert decisions.find(connection, sweep.id, after=1) == [second]
    assert (first.number, first.kind, first.point, first.epochs) == (1, "proposed", {"optimizer.lr": 0.1}, 9)
    assert (second.number, second.rung, second.bracket, second.value) == (2, 1, 1, 0.5)


def test_of_two_processes_that_decide_the_second_is_told(database: Database) -> None:
    sweep = sweep_records.create(database, model="m")
    take(database, sweep.id, 0, PROPOSED)

    with pytest.raises(AlreadyDecided):
        take(database, sweep.id, 0, PRUNED)

    with database.reading(DEFAULT_TENANT) as connection:
        assert [each.kind for each in decisions.find(connection, sweep.id)] == ["proposed"]


def test_a_sweep_that_has_ended_decides_no_more(database: Database) -> None:
    sweep = sweep_records.create(database, model="m")
    assert (sweep.pending, sweep.status) == (True, SweepStatus.running)
    with database.reading() as connection:
        assert decisions.pending(connection) == [(DEFAULT_TENANT, sweep.id, None, False)]

    take(database, sweep.id, 0, ends=True)

    with database.reading() as connection:
        assert decisions.pending(connection) == []
    with pytest.raises(AlreadyDecided):
        take(database, sweep.id, 0, PROPOSED)


def test_a_cancelled_sweep_decides_no_more(database: Database) -> None:
    sweep = sweep_records.create(database, model="m")

    with database.transaction(DEFAULT_TENANT) as connection:
        cancelled = sweeps.cancel(connection, sweep.id)

    assert (cancelled.pending, cancelled.status) == (False, SweepStatus.cancelled)


def test_plain_sweeps_have_no_decisions_due(database: Database) -> None:
    assert not sweep_records.create(database).pending


def test_a_sweep_is_settled_when_no_job_can_train(database: Database) -> None:
    sweep = sweep_records.create(database, model="m")
    with database.reading(DEFAULT_TENANT) as connection:
        assert not decisions.is_settled(connection, sweep.id)

    with database.transaction(DEFAULT_TENANT) as connection:
        sweeps.cancel(connection, sweep.id)

    with database.reading(DEFAULT_TENANT) as connection:
        assert decisions.is_settled(connection, sweep.id)
