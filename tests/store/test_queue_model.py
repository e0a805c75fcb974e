"""The queue agrees with a simple model under random sequences of operations (stateful property test)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, delete, select

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.job import Job, JobError
from service.domain.status import Control, ErrorCode, Status, StopReason
from service.errors import Conflict, LeaseLost, NotFound
from service.spec.job import JobChange
from service.store.engine import Database
from service.store.jobs import actions, attempt, jobs, leases
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.schema import epochs, events
from service.store.schema import jobs as jobs_table
from tests.conftest import POSTGRES
from tests.specs import synthetic
from tests.store.queue_model import MOVES, TENANTS, Expected, Queue, first, in_line, seen
from tests.store.records import checkpoint, epoch, resume

CRASH = JobError(code=ErrorCode.worker_lost, message="it died")
SPECS = {priority: synthetic(priority=priority) for priority in (-1, 0, 1)}
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "15"))
LAPSED, HELD = -1.0, 1_000.0  # seconds of a lease


class QueueMachine(RuleBasedStateMachine):
    """Operations of clients, workers, and stale attempts that have lost their lease."""

    ids = Bundle("ids")
    claims = Bundle("claims")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.expected: Queue = {}
        self.submitted = self.claimed = 0
        self.stood: dict[str, str] = {}
        with database.transaction() as connection:
            connection.execute(delete(jobs_table))

    @initialize(target=ids)
    def begin(self) -> object:
        return multiple(*(self.submit(0, TENANTS[0]) for _ in range(3)))

    @precondition(lambda self: len(self.expected) < 5)
    @rule(
        target=ids,
        priority=st.integers(-1, 1),
        tenant=st.sampled_from(TENANTS),
        limit=st.sampled_from([None, None, 1, 2, 4]),
    )
    def submit_one(self, priority: int, tenant: str, limit: int | None) -> str:
        return self.submit(priority, tenant, limit)

    def submit(self, priority: int, tenant: str, limit: int | None = None) -> str:
        row = jobs.new_row(SPECS[priority], tenant, epoch_limit=limit)
        with self.database.transaction(tenant) as connection:
            jobs.add(connection, [row])
        self.submitted += 1
        self.expected[row["id"]] = Expected(self.submitted, tenant, priority=priority, limit=limit)
        return str(row["id"])

    @rule(target=claims, seconds=st.sampled_from([LAPSED, HELD]))
    def claim_one(self, seconds: float) -> object:
        return self.claim(1, seconds)

    @rule(target=claims, width=st.integers(2, 3), seconds=st.sampled_from([LAPSED, HELD]))
    def claim_array(self, width: int, seconds: float) -> object:
        return self.claim(width, seconds)

    def claim(self, width: int, seconds: float) -> object:
        with self.database.transaction() as connection:
            claims = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=width, trainers=1), seconds=seconds)
        assert [claim.job_id for claim in claims] == first(self.expected, width)
        self.claimed += 1
        for claim in claims:
            job = self.expected[claim.job_id]
            job.claimed = self.claimed
            job.status, job.attempt, job.lapsed = Status.running, job.attempt + 1, seconds == LAPSED
            assert (claim.attempt, claim.epoch_limit) == (job.attempt, job.limit)
        return multiple(*claims)

    @rule(claim=claims, rows=st.integers(1, 3), saves=st.booleans())
    def record(self, claim: Claim, rows: int, saves: bool) -> None:
        job = self.owned(claim)
        reached = (job.epochs if job else 0) + rows
        written = self.write(
            AttemptRecord(
                claim.job_id,
                claim.attempt,
                [epoch(number) for number in range(reached - rows + 1, reached + 1)],
                BestSoFar(reached, 0.5, {"val_loss": 0.5}),
                replace=False,
                published=[checkpoint(CheckpointKind.state, reached)] if saves else [],
            )
        )
        assert written == ({claim.job_id: job.control} if job else {})
        if job:
            job.epochs = reached
            if reached > job.furthest:
                job.furthest, job.failures = reached, 0
            if saves:
                job.saved = reached

    @rule(claim=claims)
    def go_back(self, claim: Claim) -> None:
        job = self.owned(claim)
        back_to = job.saved if job else 0
        self.write(AttemptRecord(claim.job_id, claim.attempt, back_to=back_to))
        if job:
            job.epochs = back_to

    def write(self, record: AttemptRecord) -> dict[str, Control | None]:
        with self.database.transaction() as connection:
            return write(connection, "cpu", [record]).controls

    @rule(claim=claims, how=st.sampled_from([attempt.finish, write]))
    def finish(self, claim: Claim, how: object) -> None:
        done = Outcome(Status.succeeded, StopReason.max_epochs)
        job = self.owned(claim)
        if how is write:
            self.write(AttemptRecord(claim.job_id, claim.attempt, outcome=done))
        else:
            self.fenced(job, lambda connection: attempt.finish(connection, claim.job_id, claim.attempt, done))
        if job:
            job.to(Status.succeeded)
            job.control = None

    @rule(claim=claims, unharmed=st.booleans())
    def give_back(self, claim: Claim, unharmed: bool) -> None:
        job = self.owned(claim)
        if unharmed:
            self.fenced(job, lambda connection: attempt.release(connection, claim.job_id, claim.attempt))
        else:
            self.fenced(job, lambda connection: leases.record_crash(connection, claim.job_id, claim.attempt, CRASH))
        if job and unharmed:
            job.given_back(Status.paused if job.control is Control.pause or job.at_limit else Status.queued)
        elif job:
            job.crash()

    def owned(self, claim: Claim) -> Expected | None:
        """The job, if this attempt has not lost it."""
        job = self.expected.get(claim.job_id)
        return job if job and job.status is Status.running and job.attempt == claim.attempt else None

    def fenced(self, job: Expected | None, ask: Callable[[Connection], None]) -> None:
        try:
            with self.database.transaction() as connection:
                ask(connection)
            assert job is not None
        except LeaseLost:
            assert job is None

    @rule()
    def renew(self) -> None:
        running = [job_id for job_id, job in self.expected.items() if job.status is Status.running]
        with self.database.transaction() as connection:
            leases.renew(connection, "wrk_1", running, HELD)
        for job_id in running:
            self.expected[job_id].lapsed = False

    @rule()
    def reap(self) -> None:
        lapsed = [job for job in self.expected.values() if job.status is Status.running and job.lapsed]
        with self.database.transaction() as connection:
            assert leases.reap(connection) == len(lapsed)
        for job in lapsed:
            job.crash()

    @rule(job_id=ids, what=st.sampled_from([actions.pause, resume, actions.cancel]))
    def ask(self, job_id: str, what: Callable[..., Job]) -> None:
        job = self.expected.get(job_id)
        refused = job is not None and job.refuses(what)
        self.asked(lambda connection: what(connection, job_id), job, refused=refused)
        if job and not refused and (not job.status.terminal or job.status is Status.pruned):
            job.ask(what)

    @rule(some=st.lists(ids, max_size=4), limit=st.sampled_from([None, 2, 4, 8]))
    def promote(self, some: list[str], limit: int | None) -> None:
        these = [job for job_id, job in self.expected.items() if job_id in some]
        promoted = [
            job
            for job in these
            if job.status in (Status.queued, Status.paused) and job.at_limit and (limit is None or job.epochs < limit)
        ]
        with self.database.transaction() as connection:
            assert actions.promote(connection, some, limit) == len(promoted)
        for job in promoted:
            job.status, job.limit = Status.queued, limit

    @rule(some=st.lists(ids, max_size=4))
    def prune(self, some: list[str]) -> None:
        pruned = [
            job
            for job_id, job in self.expected.items()
            if job_id in some and job.status in (Status.queued, Status.paused)
        ]
        with self.database.transaction() as connection:
            assert actions.prune(connection, some, "pruned: it is not among the best") == len(pruned)
        for job in pruned:
            job.to(Status.pruned)

    @rule(job_id=ids, priority=st.integers(-1, 1))
    def change(self, job_id: str, priority: int) -> None:
        job, change = self.expected.get(job_id), JobChange(priority=priority)
        ended = job is not None and job.status.terminal
        self.asked(lambda connection: actions.change(connection, job_id, change), job, refused=ended)
        if job and not ended:
            job.priority = priority

    @rule(job_id=ids)
    def remove(self, job_id: str) -> None:
        job = self.expected.get(job_id)
        live = job is not None and not job.status.terminal
        self.asked(lambda connection: jobs.remove(connection, job_id), job, refused=live)
        if not live:
            self.expected.pop(job_id, None)

    def asked(self, ask: Callable[[Connection], object], job: Expected | None, *, refused: bool) -> None:
        try:
            with self.database.transaction() as connection:
                ask(connection)
            assert job is not None
            assert not refused
        except Conflict:
            assert refused
        except NotFound:
            assert job is None

    @invariant()
    def both_are_the_same(self) -> None:
        with self.database.reading() as connection:
            found = connection.execute(select(jobs_table)).all()
            rows = connection.execute(select(epochs.c.job_id, epochs.c.epoch).order_by(epochs.c.epoch)).all()
            log = connection.execute(select(events.c.job_id, events.c.number, events.c.kind)).all()
        assert {job.id for job in found} == self.expected.keys()
        for job in found:
            expected = self.expected[job.id]
            assert seen(job) == replace(expected, number=0, saved=0, lapsed=False, claimed=0, ends=0)
            assert (job.finished_at is not None) == expected.status.terminal
            assert [row.epoch for row in rows if row.job_id == job.id] == list(range(1, expected.epochs + 1))
            kinds = [row.kind for row in log if row.job_id == job.id]
            assert kinds.count(EventKind.ended) == expected.ends
            assert kinds.count(EventKind.revived) == expected.ends - expected.status.terminal
            assert kinds.count(EventKind.claimed) == expected.attempt
            assert {row.number for row in log if row.job_id == job.id} == set(range(1, len(kinds) + 1))

    @invariant()
    def a_job_makes_only_the_moves_that_there_are(self) -> None:
        with self.database.reading() as connection:
            stands = {row.id: row.status for row in connection.execute(select(jobs_table.c.id, jobs_table.c.status))}
        moved = {(self.stood.get(job_id, "queued"), status) for job_id, status in stands.items()}
        assert {move for move in moved if move[0] != move[1]} <= MOVES
        self.stood = stands

    @invariant()
    def the_last_of_a_tenants_jobs_knows_its_place_among_them(self) -> None:
        for tenant in TENANTS:
            if queued := in_line(self.expected, tenant):
                with self.database.reading() as connection:
                    assert jobs.get(connection, queued[-1]).queue_position == len(queued)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)
def test_the_queue_agrees_with_its_model(database: Database) -> None:
    run_state_machine_as_test(
        lambda: QueueMachine(database), settings=settings(max_examples=EXAMPLES, stateful_step_count=50)
    )
