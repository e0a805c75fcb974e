"""A worker's part in gangs: its claims are counted, it leaves when it stops, and others find its ranks."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from service.domain.status import Status
from service.errors import Unavailable
from service.settings import Settings
from service.store.engine import Database
from service.store.jobs import gangs, jobs
from service.store.jobs.gangs import Reservation, Start
from service.worker.claimer import Claimer
from service.worker.gang_member import GangMember
from service.worker.trainer_handle import TrainerHandle
from tests.store.gangs import ONE, TWO, register, submit_on

NONE = cast("Any", None)


class Worker:
    """An idle worker with one trainer."""

    def __init__(self, database: Database, name: str, **given: object) -> None:
        settings = Settings.model_validate({"database_url": database.url.render_as_string(False), **given})
        self.member = GangMember(settings, database, name, [""])
        self.claimer = Claimer(settings, database, name)
        self.trainers = [TrainerHandle(NONE, NONE, NONE, NONE, device="cpu")]

    def step(self) -> Reservation | Start | None:
        return self.member.step(self.trainers, self.trainers)


@pytest.fixture(autouse=True)
def cluster(database: Database) -> None:
    register(database, ONE, TWO)


def started(database: Database, **given: object) -> tuple[Worker, Worker, Start]:
    """A gang that has started: who leads it, who follows, and the leader's part."""
    leader, follower = Worker(database, "wrk_1", **given), Worker(database, "wrk_2", **given)
    submit_on(database, 2)
    leader.step()
    follower.step()
    start = leader.step()
    assert isinstance(start, Start)
    return leader, follower, start


def test_the_leader_counts_the_claim_and_both_count_the_job(database: Database) -> None:
    leader, follower, led = started(database, max_worker_jobs=3)
    followed = follower.step()
    assert isinstance(followed, Start)
    leader.claimer.count(led)
    follower.claimer.count(followed)

    assert (leader.claimer.stats.claims, leader.claimer.stats.claimed, leader.claimer.jobs_left) == (1, 1, 2)
    assert leader.claimer.stats.waited_seconds > 0
    assert (follower.claimer.stats.claims, follower.claimer.jobs_left) == (0, 2)


def test_a_tenants_limit_on_running_jobs_holds_for_gangs(database: Database) -> None:
    started(database, max_running_jobs=1)
    third = Worker(database, "wrk_3", max_running_jobs=1)
    submit_on(database, 2)
    register(database, ONE, TWO)

    assert third.step() is None


def test_a_worker_that_waits_for_its_gang_is_active_until_it_withdraws(database: Database) -> None:
    worker = Worker(database, "wrk_1")
    submit_on(database, 2)
    worker.step()
    assert worker.member.active

    worker.member.withdraw()

    assert not worker.member.active
    with database.transaction() as connection:
        assert isinstance(gangs.step(connection, TWO, ()), Reservation)
        assert isinstance(gangs.step(connection, TWO, ()), Reservation)  # still alone


@pytest.mark.parametrize("given", [{"rank_address": "192.0.2.7"}, {"rank_address": "2001:db8::7"}])
def test_an_operator_says_where_other_machines_reach_a_rank(database: Database, given: dict[str, str]) -> None:
    leader, _, start = started(database, **given)

    assert leader.member.address_for(start) == given["rank_address"]


def test_a_worker_without_an_address_claims_no_job_for_its_gang(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower, job = Worker(database, "wrk_1"), Worker(database, "wrk_2"), submit_on(database, 2)
    leader.step()
    follower.step()
    elsewhere = leader.member._settings.model_copy(update={"database_url": "postgresql+psycopg://db.invalid/jobs"})
    monkeypatch.setattr(leader.member, "_settings", elsewhere)  # its name server does not answer

    with pytest.raises(Unavailable, match=r"db\.invalid has no address"):
        leader.step()

    with database.reading() as connection:
        assert jobs.get(connection, job).status is Status.queued


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_worker_says_once_that_other_machines_cannot_reach_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    leader, _, start = started(database)
    with caplog.at_level(logging.WARNING):
        assert leader.member.address_for(start) == "127.0.0.1"
        leader.member.address_for(start)

    assert [record.message for record in caplog.records if "BESTEPOCH_RANK_ADDRESS" in record.message] == [
        "ranks on other machines cannot reach 127.0.0.1: if there are any, set BESTEPOCH_RANK_ADDRESS"
    ]
