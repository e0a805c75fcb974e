"""What the queue should do: a model of its jobs and of the order in which they are claimed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from service.domain.access import DEFAULT_TENANT
from service.domain.job import Job
from service.domain.status import Control, Status
from service.store.jobs import actions
from service.store.jobs.leases import MAX_FAILURES
from tests.store.records import resume

TENANTS = (DEFAULT_TENANT, "another")
MOVES = {
    ("queued", "running"), ("queued", "paused"), ("queued", "cancelled"),
    ("running", "queued"), ("running", "paused"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"),
    ("paused", "queued"), ("paused", "cancelled"),
    ("queued", "pruned"), ("paused", "pruned"), ("pruned", "queued"),
}  # fmt: skip


@dataclass
class Expected:
    """A job in the model."""

    number: int  # in the order of submission
    tenant: str = DEFAULT_TENANT
    claimed: int = 0  # the newest claim's number; 0: never claimed
    priority: int = 0
    status: Status = Status.queued
    control: Control | None = None
    attempt: int = 0
    failures: int = 0
    epochs: int = 0
    furthest: int = 0
    saved: int = 0
    limit: int | None = None
    ends: int = 0  # times that it has ended: more than once if it was revived
    lapsed: bool = False

    @property
    def at_limit(self) -> bool:
        return self.limit is not None and self.epochs >= self.limit

    def given_back(self, status: Status) -> None:
        self.to(Status.cancelled if self.control is Control.cancel else status)
        self.control = None

    def to(self, status: Status) -> None:
        self.status, self.ends = status, self.ends + status.terminal

    def refuses(self, what: Callable[..., Job]) -> bool:
        if what is actions.cancel:
            return self.status in (Status.succeeded, Status.failed, Status.pruned)
        if what is resume and self.status is Status.pruned:
            return False
        return self.status.terminal or self.control is Control.cancel

    def ask(self, what: Callable[..., Job]) -> None:
        if self.status is Status.running:
            wanted = {actions.pause: self.control or Control.pause, actions.cancel: Control.cancel}
            self.control = wanted.get(what)
        elif what is actions.cancel:
            self.to(Status.cancelled)
        elif what is resume and self.status is Status.pruned:
            self.status, self.limit, self.failures = Status.queued, None, 0
        elif what is resume and self.status is Status.paused and self.at_limit:  # no sweep decides
            self.status, self.limit = Status.queued, None
        else:
            self.status = Status.paused if what is actions.pause else Status.queued

    def crash(self) -> None:
        self.failures += 1
        paused = Status.paused if self.control is Control.pause else Status.queued
        self.given_back(Status.failed if self.failures >= MAX_FAILURES else paused)


Queue = dict[str, Expected]
"""Jobs by id."""


def first(expected: Queue, width: int) -> list[str]:
    queued = in_line(expected, in_turn(expected))
    if queued and expected[queued[0]].failures:
        return queued[:1]
    return [job_id for job_id in queued if not expected[job_id].failures][:width]


def in_turn(expected: Queue) -> str:
    """The tenant with the fewest running jobs; of equals the one that has waited longest for a claim."""

    def turn(tenant: str) -> tuple[int, int, int]:
        own = [job for job in expected.values() if job.tenant == tenant]
        running = sum(job.status is Status.running for job in own)
        return running, max(job.claimed for job in own), expected[in_line(expected, tenant)[0]].number

    return min((tenant for tenant in TENANTS if in_line(expected, tenant)), key=turn, default=TENANTS[0])


def in_line(expected: Queue, tenant: str) -> list[str]:
    queued = [
        (-job.priority, job.number, job_id)
        for job_id, job in expected.items()
        if job.status is Status.queued and job.tenant == tenant
    ]
    return [job_id for *_, job_id in sorted(queued)]


def seen(job: Row[Any]) -> Expected:
    """The job's row, as the model represents it."""
    asked = job.control and Control(job.control)
    return Expected(
        0,
        job.tenant,
        0,
        job.priority,
        Status(job.status),
        asked,
        job.attempt,
        job.failures,
        job.epoch,
        job.furthest_epoch,
        limit=job.epoch_limit,
    )
