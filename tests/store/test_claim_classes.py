"""Claims merge classes of jobs: a property test compares them with the plain definition of their order."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select, update

from service.domain.access import DEFAULT_TENANT
from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.spec.worker import subsets
from service.store.engine import Database
from service.store.jobs import jobs
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import LOOKS, UNLIMITED, Claimant
from service.store.schema import jobs as jobs_table
from tests.conftest import POSTGRES
from tests.specs import synthetic

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "60"))
RESOLVED = synthetic()
LEAVES_SECONDS = 1_000.0
OTHERS: list[dict[str, Any]] = [
    {"worker_labels": "gpu=h100"},
    {"device_request": "cuda"},
    {"suits_preemptible": True},
    {"ranks": 2},
    {"spec_version": SPEC_VERSION + 1},
]
LABELS = {"gpu": "h100", "spot": "true"}


@dataclass(frozen=True)
class Queued:
    """What the order of claims depends on."""

    id: str
    tenant: str
    priority: int
    device_request: str
    worker_labels: str
    suits_preemptible: bool
    ranks: int
    spec_version: int
    shape_key: str | None
    array_key: str
    array_limit: int
    row_sets: int
    failures: int
    status: str
    started_at: datetime | None


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {
            "tenant": st.sampled_from("abc"),
            "age": st.sampled_from([LEAVES_SECONDS / 2, LEAVES_SECONDS * 2]),
            "priority": st.integers(-1, 1),
            "device_request": st.sampled_from(["auto", "cpu", "cuda"]),
            "worker_labels": st.sampled_from([*subsets(LABELS), "gpu=a100"]),
            "suits_preemptible": st.booleans(),
            "ranks": st.sampled_from([1, 1, 1, 2, 5]),
            "spec_version": st.sampled_from([1, SPEC_VERSION, SPEC_VERSION + 1]),
            "shape_key": st.sampled_from(["s1", "s2", None]),
            "array_key": st.sampled_from(["a1", "a2"]),
            "array_limit": st.sampled_from([1, 3, 64]),
            "row_sets": st.sampled_from([1, 2]),
            "failures": st.sampled_from([0, 0, 0, 1]),
            "status": st.sampled_from([Status.queued, Status.queued, Status.queued, Status.running, Status.paused]),
            "started_at": st.sampled_from([None, *(datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))]),
        }
    )
    return st.lists(one, max_size=24)


def claimants() -> st.SearchStrategy[Claimant]:
    return st.builds(
        Claimant,
        st.just("wrk_1"),
        st.sampled_from([("cpu",), ("cpu", "cuda")]),
        st.sampled_from([1, 4, 16]),
        st.sampled_from([1, 2]),
        labels=st.sampled_from([subsets({}), subsets({"gpu": "h100"}), subsets(LABELS)]),
        ranks=st.sampled_from([1, 2]),
        beyond=st.sampled_from([UNLIMITED, 4]),
        preemptible=st.booleans(),
        leaves_seconds=st.sampled_from([0.0, LEAVES_SECONDS]),
    )


def claimable(job: Queued, by: Claimant) -> bool:
    """The plain definition."""
    return (
        job.status == Status.queued
        and job.spec_version <= SPEC_VERSION
        and job.device_request in ("auto", *by.devices)
        and job.worker_labels in by.labels
        and (job.ranks <= by.ranks or job.ranks > by.beyond)
        and (job.suits_preemptible == by.preemptible or job.id < by.left_until)
    )


def in_line(found: list[Queued], tenant: str) -> list[Queued]:
    return sorted((job for job in found if job.tenant == tenant), key=lambda job: (-job.priority, job.id))


def picked(stored: list[Queued], by: Claimant, most: int) -> list[str]:
    """What the claim must take, in its order."""
    found = [job for job in stored if claimable(job, by)]

    def turn(tenant: str) -> tuple[Any, ...]:
        own = [job for job in stored if job.tenant == tenant]
        running = sum(job.status == Status.running for job in own)
        last = max((job.started_at for job in own if job.started_at), default=datetime.min.replace(tzinfo=UTC))
        return running, last, in_line(found, tenant)[0].id

    turns = sorted(map(turn, {job.tenant for job in found}))
    turns = [each for each in turns if not most or each[0] < most]
    if not turns:
        return []
    head = next(job for job in found if job.id == turns[0][2])
    width = min(by.width, head.array_limit, most - turns[0][0] if most else by.width)
    key = "array_key" if head.shape_key is None else "shape_key"
    alike = [
        job for job in in_line(found, head.tenant) if getattr(job, key) == getattr(head, key) and job.failures == 0
    ]
    width = min(width, -(-min(len(alike), width * by.trainers) // by.trainers))
    if head.failures or width <= 1:
        return [head.id]
    taken, keys, limit = list[str](), set[str](), width
    for job in alike[:width]:
        if len(taken) < min(limit, job.array_limit) and (job.array_key in keys or len(keys) < head.row_sets):
            taken.append(job.id)
            keys.add(job.array_key)
            limit = min(limit, job.array_limit)
    return taken


def store(connection: Connection, drawn: list[dict[str, Any]]) -> list[Queued]:
    """Jobs of these values alone, whose ids tell of their age."""
    connection.execute(delete(jobs_table))
    new = [jobs.new_row(RESOLVED, row["tenant"]) for row in drawn]
    for number, (row, values) in enumerate(zip(new, drawn, strict=True)):
        row["id"] = f"job_{time.time_ns() - int(values['age'] * 1e9):016x}{number:04x}"
    if new:
        jobs.add(connection, new)
    for row, values in zip(new, drawn, strict=True):
        columns = {name: value for name, value in values.items() if name != "age"}
        connection.execute(update(jobs_table).where(jobs_table.c.id == row["id"]).values(columns))
    read = select(*(jobs_table.c[each.name] for each in fields(Queued)))
    return [Queued(*row) for row in connection.execute(read)]


@pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)
def test_claims_take_what_the_plain_definition_says(database: Database) -> None:
    @settings(max_examples=EXAMPLES)
    @given(drawn=rows(), by=claimants(), most=st.sampled_from([0, 2]))
    def compare(drawn: list[dict[str, Any]], by: Claimant, most: int) -> None:
        with database.transaction() as connection:
            expected = picked(store(connection, drawn), by, most)
            claimed = claim_jobs(connection, by, seconds=15.0, max_running=most)
        assert [each.job_id for each in claimed] == expected

    compare()


@pytest.mark.parametrize("others", OTHERS, ids=lambda others: next(iter(others)))
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_claims_skip_what_is_locked_and_what_they_cannot_claim(database: Database, others: dict[str, Any]) -> None:
    """More jobs of both kinds than a claim looks at first."""
    count = LOOKS[0] + 10
    new = [jobs.new_row(RESOLVED, DEFAULT_TENANT) for _ in range(2 * count + 1)]
    rest, locked, last = new[:count], new[count:-1], new[-1]["id"]
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.add(connection, new)
        these = jobs_table.c.id.in_([row["id"] for row in rest])
        connection.execute(update(jobs_table).where(these).values(priority=5, **others))
    by = Claimant("wrk_1", {"cpu"}, 1, 1, leaves_seconds=60.0)

    with database.transaction() as first:
        ids = [row["id"] for row in locked]
        assert len(first.execute(select(jobs_table.c.id).where(jobs_table.c.id.in_(ids)).with_for_update()).all())
        with database.transaction() as second:
            assert [each.job_id for each in claim_jobs(second, by, seconds=15.0)] == [last]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("width", [1, 4])
def test_a_claim_costs_the_same_behind_any_number_of_jobs_for_others(database: Database, width: int) -> None:
    def steps() -> int:
        """Instructions of SQLite's virtual machine in hundreds."""
        count = 0

        def counted() -> int:
            nonlocal count
            count += 1
            return 0

        with database.transaction(DEFAULT_TENANT) as connection:
            jobs.add(connection, [jobs.new_row(RESOLVED, DEFAULT_TENANT) for _ in range(width)])
            raw: Any = connection.connection.dbapi_connection
            raw.set_progress_handler(counted, 100)
            by = Claimant("wrk_1", {"cpu"}, width, 1, leaves_seconds=60.0)
            assert len(claim_jobs(connection, by, seconds=15.0)) == width
            raw.set_progress_handler(None, 0)
        return count

    steps()
    without = steps()
    with database.transaction(DEFAULT_TENANT) as connection:
        for number, others in enumerate(OTHERS * 100):
            row = jobs.new_row(RESOLVED, DEFAULT_TENANT)
            jobs.add(connection, [{**row, "priority": 5 + number % 2, **others}])

    assert steps() < 2 * without + 20
