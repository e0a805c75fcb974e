"""Gangs under random sequences of operations: ranks are whole, of one kind, and every job starts in the end."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, func, select, update

from service.domain.status import Status, StopReason
from service.errors import LeaseLost
from service.spec.worker import labels_text, subsets
from service.store import workers
from service.store.engine import Database
from service.store.jobs import attempt, gangs, jobs, leases
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.jobs.gang_order import Member
from service.store.jobs.gangs import Reservation, Start
from service.store.schema import jobs as jobs_table
from service.store.utc import ago
from service.store.worker_tables import gang_members
from service.store.worker_tables import workers as workers_table
from tests.conftest import POSTGRES
from tests.specs import synthetic
from tests.store.gangs import register
from tests.store.records import CRASH

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "15"))
DONE = Outcome(Status.succeeded, StopReason.max_epochs)
LABELS = {"gpu": "h100"}
ROUNDS = 30  # steps of all workers, within which a job starts


@dataclass
class Worker:
    """What a supervisor knows."""

    member: Member
    labels: dict[str, str]
    alive: bool = True
    joined: str | None = None
    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)  # job: attempt and number of trainers
    ranks_of: str | None = None

    @property
    def free(self) -> int:
        return self.member.trainers - sum(trainers for _, trainers in self.tasks.values())


def fleet() -> list[Worker]:
    found = [("cpu", 1, {}), ("cpu", 2, {}), ("cpu", 1, LABELS), ("cuda", 1, LABELS), ("cuda", 1, LABELS)]
    return [
        Worker(Member(f"wrk_{number}", kind, trainers, 0, 1_000.0, 1_000.0, subsets(labels)), dict(labels))
        for number, (kind, trainers, labels) in enumerate(found)
    ]


class GangMachine(RuleBasedStateMachine):
    """Five workers, of which some vanish or stop, and jobs on one to three devices."""

    ids = Bundle("ids")
    numbers = st.integers(0, 4)

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database, self.fleet = database, fleet()
        with database.transaction() as connection:
            for table in (gang_members, jobs_table, workers_table):
                connection.execute(delete(table))
        for worker in self.fleet:
            self.register(worker)

    def register(self, worker: Worker) -> None:
        register(self.database, worker.member, labels=worker.labels, trainers=worker.member.trainers)

    @rule(
        target=ids,
        devices=st.integers(1, 3),
        device=st.sampled_from(["auto", "cpu", "cuda"]),
        labels=st.sampled_from([{}, LABELS]),
        priority=st.integers(0, 1),
        tenant=st.sampled_from(["default", "another"]),
    )
    def submit(self, devices: int, device: str, labels: dict[str, str], priority: int, tenant: str) -> str:
        parallel = {"devices": devices} if devices > 1 else None
        data = {"kind": "synthetic", "rows": 100, "features": 3}
        spec = synthetic(data=data, parallel=parallel, device=device, worker={"labels": labels}, priority=priority)
        row = jobs.new_row(spec, tenant)
        with self.database.transaction(tenant) as connection:
            jobs.add(connection, [row])
        return str(row["id"])

    @rule(number=numbers, skipped=st.lists(ids, max_size=1))
    def step(self, number: int, skipped: list[str]) -> None:
        worker = self.fleet[number]
        if not worker.alive:
            return
        self.forget_ended(worker)
        kept = 0
        if worker.ranks_of is None:
            by = replace(worker.member, free=worker.free, joined=worker.joined)
            with self.database.transaction() as connection:
                found = gangs.step(connection, by, skipped)
            worker.joined = found.job_id if isinstance(found, Reservation) else None
            if isinstance(found, Start):
                self.start(worker, found)
            elif isinstance(found, Reservation):
                kept = found.kept
                assert not found.complete or self.reserved(found.job_id, worker.member.kind) == self.ranks(found.job_id)
        if worker.free > kept:
            self.claim(worker, worker.free - kept)

    def forget_ended(self, worker: Worker) -> None:
        """Trainers are free when their attempt has ended; then the worker leaves the gang."""
        for job_id, (number, _) in list(worker.tasks.items()):
            if not self.runs(job_id, number):
                del worker.tasks[job_id]
                if worker.ranks_of == job_id:
                    worker.ranks_of = None
                    with self.database.transaction() as connection:
                        gangs.leave(connection, worker.member.worker)

    def runs(self, job_id: str, number: int) -> bool:
        with self.database.reading() as connection:
            return connection.scalar(select(jobs_table.c.id).where(attempt.owned_by(job_id, number))) is not None

    def start(self, worker: Worker, found: Start) -> None:
        claim = found.claim
        assert claim.spec.device in ("auto", worker.member.kind)
        assert labels_text(claim.spec.worker.labels) in worker.member.labels
        assert 0 < len(found.own) <= worker.free
        if found.leads:
            assert self.reserved(claim.job_id, worker.member.kind) == claim.spec.devices
            with self.database.reading() as connection:
                kinds = select(gang_members.c.kind).where(gang_members.c.job_id == claim.job_id)
                assert {*connection.scalars(kinds)} == {worker.member.kind}
        worker.tasks[claim.job_id] = claim.attempt, len(found.own)
        worker.ranks_of = claim.job_id

    def claim(self, worker: Worker, free: int) -> None:
        member = worker.member
        by = Claimant(member.worker, {"cpu", member.kind}, 1, 1, member.labels, ranks=free)
        with self.database.transaction() as connection:
            claims: list[Claim] = claim_jobs(connection, by, seconds=1_000.0)
        for claim in claims:
            assert claim.spec.devices <= free
            worker.tasks[claim.job_id] = claim.attempt, claim.spec.devices

    @rule(job_id=ids, crashes=st.booleans())
    def end(self, job_id: str, crashes: bool) -> None:
        with self.database.reading() as connection:
            number = connection.scalar(select(jobs_table.c.attempt).where(jobs_table.c.id == job_id)) or 0
        with suppress(LeaseLost), self.database.transaction() as connection:
            if crashes:
                leases.record_crash(connection, job_id, number, CRASH)
            else:
                attempt.finish(connection, job_id, number, DONE)

    @rule(number=numbers)
    def vanish(self, number: int) -> None:
        """The worker's machine is switched off: its leases lapse, and others reap its jobs."""
        self.fleet[number] = replace(fleet()[number], alive=False)
        name = self.fleet[number].member.worker
        with self.database.transaction() as connection:
            gangs.renew(connection, name, -1.0)
            connection.execute(update(jobs_table).where(jobs_table.c.worker == name).values(lease_until=-1.0))
            connection.execute(
                update(workers_table)
                .where(workers_table.c.id == name)
                .values(seen_at=ago(connection, 2 * workers.DEAD_AFTER))
            )
            leases.reap(connection)

    @rule(number=numbers)
    def stop(self, number: int) -> None:
        """The worker stops when its jobs have been requeued."""
        worker = self.fleet[number]
        with self.database.transaction() as connection:
            if worker.ranks_of is None:
                gangs.withdraw(connection, worker.member.worker)
            for job_id, (own, _) in worker.tasks.items():
                if connection.scalar(select(jobs_table.c.id).where(attempt.owned_by(job_id, own))):
                    attempt.release(connection, job_id, own)
            workers.deregister(connection, worker.member.worker)
        self.fleet[number] = replace(fleet()[number], alive=False)

    @rule(number=numbers)
    def come(self, number: int) -> None:
        if not self.fleet[number].alive:
            self.fleet[number].alive = True
            self.register(self.fleet[number])

    def ranks(self, job_id: str) -> int:
        with self.database.reading() as connection:
            return connection.scalar(select(jobs_table.c.ranks).where(jobs_table.c.id == job_id)) or 0

    def reserved(self, job_id: str, kind: str) -> int:
        members = gang_members.c.job_id == job_id, gang_members.c.kind == kind
        with self.database.reading() as connection:
            return connection.scalar(select(func.sum(gang_members.c.ranks)).where(*members)) or 0

    @invariant()
    def a_worker_is_in_one_gang_and_reserves_no_more_than_the_job_needs(self) -> None:
        with self.database.reading() as connection:
            rows = connection.execute(select(gang_members.c.job_id, gang_members.c.worker, gang_members.c.kind)).all()
        assert len({row.worker for row in rows}) == len(rows)
        for row in rows:
            assert self.reserved(row.job_id, row.kind) <= self.ranks(row.job_id)

    def teardown(self) -> None:
        """When nothing disturbs them any more, the workers train every job that enough of them suit."""
        for _ in range(ROUNDS):
            for number in range(len(self.fleet)):
                self.step(number, [])
            with self.database.reading() as connection:
                running = connection.scalars(select(jobs_table.c.id).where(jobs_table.c.status == Status.running)).all()
            for job_id in running:
                self.end(job_id, crashes=False)
        with self.database.reading() as connection:
            left = connection.execute(select(jobs_table).where(jobs_table.c.status == Status.queued)).all()
        assert [row.id for row in left if self.is_trainable(row.ranks, row.device_request, row.worker_labels)] == []

    def is_trainable(self, ranks: int, device: str, labels: str) -> bool:
        suited = [each.member for each in self.fleet if each.alive and labels in each.member.labels]
        together = (
            sum(each.trainers for each in suited if each.kind == kind)
            for kind in ("cpu", "cuda")
            if device in ("auto", kind)
        )
        alone = (each.trainers for each in suited if device in ("auto", "cpu", each.kind))
        return ranks <= max([0, *together, *alone])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)
def test_gangs_agree_with_their_model(database: Database) -> None:
    run_state_machine_as_test(
        lambda: GangMachine(database), settings=settings(max_examples=EXAMPLES, stateful_step_count=40)
    )
