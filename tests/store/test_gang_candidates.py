"""For which job workers form a gang: one that live workers can train, in turns of tenants, of one kind of device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.store import workers
from service.store.engine import Database
from service.store.jobs import gangs
from service.store.jobs.attempt import Outcome, finish
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.jobs.gang_order import Member
from service.store.jobs.gangs import Dissolved, Reservation, Start
from service.store.schema import jobs as jobs_table
from service.store.worker_tables import gang_members
from service.store.worker_tables import workers as workers_table
from tests.store.gangs import BUSY, ONE, THREE, TWO, register, step, submit_on
from tests.store.records import claim, job, submit

LABELLED = "", "gpu=h100"
GPU_ONE, GPU_TWO = (Member(f"wrk_gpu_{number}", "cuda", 1, 1, 15.0, 60.0) for number in (1, 2))


@pytest.fixture(autouse=True)
def cluster(database: Database) -> None:
    """Two workers with a trainer each."""
    register(database, ONE, TWO)


def joined(database: Database, by: Member, job_id: str) -> bool:
    found = step(database, by)
    return isinstance(found, Reservation) and found.job_id == job_id


def reserved(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.scalars(gang_members.select().with_only_columns(gang_members.c.worker)))


def move(database: Database, job_id: str, **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(**values))


def test_an_incomplete_gang_ends_when_too_few_workers_are_left(database: Database) -> None:
    job_id = submit_on(database, 2)
    assert joined(database, BUSY, job_id)
    with database.transaction() as connection:
        workers.deregister(connection, "wrk_2")

    assert step(database, BUSY) is None
    assert reserved(database) == set()
    register(database, TWO)
    assert joined(database, BUSY, job_id)  # at once: it is not skipped


def test_workers_without_the_jobs_labels_do_not_count(database: Database) -> None:
    register(database, THREE, labels={"gpu": "h100"})
    job_id = submit_on(database, 2, worker={"labels": {"gpu": "h100"}})

    assert step(database, replace(THREE, labels=LABELLED)) is None
    register(database, TWO, labels={"gpu": "h100", "spot": "true"})
    assert joined(database, replace(THREE, labels=LABELLED), job_id)


def test_workers_of_a_version_that_cannot_read_the_job_do_not_count(database: Database) -> None:
    submit_on(database, 2)
    register(database, TWO, spec_version=SPEC_VERSION - 1)
    move_to_newest = update(jobs_table).values(spec_version=SPEC_VERSION)
    with database.transaction() as connection:
        connection.execute(move_to_newest)

    assert step(database, BUSY) is None


def test_workers_of_a_version_that_did_not_say_what_it_reads_do_not_count(database: Database) -> None:
    submit_on(database, 2)
    with database.transaction() as connection:
        connection.execute(update(workers_table).where(workers_table.c.id == "wrk_2").values(spec_version=0))

    assert step(database, BUSY) is None


def test_gangs_of_cpus_and_of_gpus_form_for_the_same_job_and_the_first_that_is_complete_trains_it(
    database: Database,
) -> None:
    register(database, GPU_ONE, GPU_TWO, device="cuda:0")
    job_id = submit_on(database, 2)
    assert joined(database, BUSY, job_id)
    assert joined(database, GPU_ONE, job_id)
    mixed = step(database, BUSY)
    assert isinstance(mixed, Reservation)
    assert not mixed.complete

    assert joined(database, GPU_TWO, job_id)
    led, followed = step(database, GPU_ONE), step(database, GPU_TWO)

    assert isinstance(led, Start)
    assert isinstance(followed, Start)
    assert reserved(database) == {"wrk_gpu_1", "wrk_gpu_2"}
    assert step(database, replace(BUSY, joined=job_id)) == Dissolved(job_id)


def test_a_job_that_no_worker_can_train_does_not_stop_gangs_of_its_tenant(database: Database) -> None:
    job_id = submit_on(database, 2)
    submit(database, priority=1, device="cuda")
    submit(database, priority=1, worker={"labels": {"gpu": "h100"}})
    submit_on(database, 9, priority=1)
    move(database, submit(database, priority=1).id, spec_version=SPEC_VERSION + 1)

    assert joined(database, BUSY, job_id)


def test_a_job_of_higher_priority_whose_gang_was_dissolved_does_not_stop_others(database: Database) -> None:
    job_id = submit_on(database, 2)
    skipped = submit_on(database, 2, priority=1)

    found = step(database, BUSY, skipped)

    assert isinstance(found, Reservation)
    assert found.job_id == job_id


def test_members_of_an_incomplete_gang_leave_it_for_a_job_of_higher_priority(database: Database) -> None:
    assert joined(database, BUSY, submit_on(database, 2))
    urgent = submit_on(database, 2, priority=1)

    assert step(database, BUSY) is None
    assert joined(database, BUSY, urgent)


def test_a_complete_gang_is_no_candidate_for_a_third_worker(database: Database) -> None:
    register(database, THREE)
    first, second = submit_on(database, 2), submit_on(database, 2)
    assert joined(database, BUSY, first)
    assert joined(database, replace(TWO, free=0), first)

    assert joined(database, THREE, second)


def test_members_of_two_incomplete_gangs_agree_on_one(database: Database) -> None:
    first, second = submit_on(database, 2), submit_on(database, 2)
    assert joined(database, BUSY, first)
    apart = step(database, replace(TWO, free=0), first)  # it skips the first for a while
    assert isinstance(apart, Reservation)
    assert apart.job_id == second

    assert step(database, replace(TWO, free=0)) is None

    assert joined(database, replace(TWO, free=0), first)


def test_tenants_take_turns(database: Database) -> None:
    submit_on(database, 2, priority=5)
    other = submit_on(database, 2)
    move(database, other, tenant="other")
    submit(database, priority=9)
    claim(database, "wrk_9")  # the first tenant has a running job

    assert joined(database, BUSY, other)


def test_a_tenant_at_its_limit_of_running_jobs_gets_no_gang(database: Database) -> None:
    running = submit(database).id
    claim(database, "wrk_9")
    submit_on(database, 2)

    assert step(database, BUSY, max_running=1) is None
    with database.transaction() as connection:
        finish(connection, running, 1, Outcome(Status.succeeded))
    assert isinstance(step(database, BUSY, max_running=1), Reservation)


def test_a_gang_does_not_start_beyond_its_tenants_limit_of_running_jobs(database: Database) -> None:
    job_id = submit_on(database, 2)
    for member in (ONE, TWO):
        assert isinstance(step(database, member, max_running=1), Reservation)
    submit(database, data={"kind": "synthetic", "rows": 100})
    claim(database, "wrk_9")

    assert step(database, ONE, max_running=1) == Dissolved(job_id)
    assert job(database, job_id).status == Status.queued


def test_a_worker_that_stops_leaves_its_gang(database: Database) -> None:
    submit_on(database, 2)
    step(database, ONE)
    with database.transaction() as connection:
        gangs.withdraw(connection, "wrk_1")

    assert reserved(database) == set()


def test_a_worker_that_stops_when_its_gang_has_just_started_requeues_the_job_without_a_crash(
    database: Database,
) -> None:
    job_id = submit_on(database, 2)
    for member in (ONE, TWO, ONE):
        step(database, member)
    assert job(database, job_id).status == Status.running

    with database.transaction() as connection:
        gangs.withdraw(connection, "wrk_2")

    found = job(database, job_id)
    assert (found.status, found.attempt, found.failures) == (Status.queued, 1, 0)
    assert reserved(database) == {"wrk_1"}  # until it sees that the attempt has ended


def test_a_worker_that_stops_leaves_alone_a_job_that_another_trains_without_a_gang(database: Database) -> None:
    job_id = submit_on(database, 2)
    for member in (ONE, TWO):  # complete, and the second is ready
        step(database, member)
    with database.transaction() as connection:
        assert claim_jobs(connection, Claimant("wrk_9", {"cpu"}, 1, 1, ranks=2), seconds=15.0)

        gangs.withdraw(connection, "wrk_2")

    assert job(database, job_id).status == Status.running
