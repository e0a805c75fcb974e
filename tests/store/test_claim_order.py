"""The order of claims: tenants are served in turn, on both databases."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, text

from service.domain.job import Job
from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import attempt, jobs
from service.store.jobs.attempt import Outcome
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.specs import synthetic

DONE = Outcome(Status.succeeded, StopReason.max_epochs)


def submit(database: Database, tenant: str, **fields: Any) -> Job:
    with database.transaction(tenant) as connection:
        return jobs.submit(connection, synthetic(**fields), max_queued=1_000)[0]


def claim(database: Database, *, width: int = 1, most: int = 0, devices: tuple[str, ...] = ("cpu",)) -> list[str]:
    with database.transaction() as connection:
        taken = claim_jobs(
            connection, Claimant("wrk_1", devices, width=width, trainers=1), seconds=15.0, max_running=most
        )
    return [each.job_id for each in taken]


def finish(database: Database, job_id: str) -> None:
    with database.transaction() as connection:
        attempt.finish(connection, job_id, 1, DONE)


def test_priority_does_not_override_the_turn_of_another_tenant(database: Database) -> None:
    loud = [submit(database, "loud", priority=100).id for _ in range(4)]
    quiet = [submit(database, "quiet").id for _ in range(2)]

    claimed = [claim(database) for _ in range(6)]

    assert claimed == [[loud[0]], [quiet[0]], [loud[1]], [quiet[1]], [loud[2]], [loud[3]]]


def test_the_tenant_with_the_fewest_running_jobs_is_served_first(database: Database) -> None:
    wide = [submit(database, "wide", seed=seed).id for seed in range(6)]
    assert claim(database, width=3) == wide[:3]
    single = [submit(database, "single").id for _ in range(4)]

    claimed = [claim(database) for _ in range(4)]

    assert claimed[:3] == [[each] for each in single[:3]]  # until it has three too; then it was served last
    assert claimed[3] == [wide[3]]


def test_with_one_trainer_tenants_alternate(database: Database) -> None:
    whose = {submit(database, tenant).id: tenant for tenant in ("first",) * 6 + ("second", "third")}
    order = []
    for _ in range(8):
        (taken,) = claim(database)
        order.append(whose[taken])
        finish(database, taken)

    assert order == ["first", "second", "third", *["first"] * 5]


def test_arrays_do_not_mix_tenants(database: Database) -> None:
    ours = {tenant: {submit(database, tenant, seed=seed).id for seed in range(3)} for tenant in ("one", "two")}

    assert {*claim(database, width=16)} == ours["one"]
    assert {*claim(database, width=16)} == ours["two"]


def test_tenants_without_claimable_jobs_are_skipped(
    database: Database,
) -> None:
    submit(database, "gpu", device="cuda")
    busy = [submit(database, "busy").id for _ in range(2)]
    other = [submit(database, "other").id for _ in range(3)]

    claimed = [claim(database, most=1), claim(database, most=1), claim(database, most=1)]
    finish(database, other[0])

    assert claimed == [[busy[0]], [other[0]], []]
    assert claim(database, most=1) == [other[1]]


def test_many_tenants_get_equal_numbers_of_running_jobs(database: Database) -> None:
    whose = {submit(database, f"t{number % 7}").id: f"t{number % 7}" for number in range(70)}

    running = Counter(whose[job_id] for _ in range(21) for job_id in claim(database))

    assert set(running.values()) == {3}


def test_the_queue_position_counts_only_the_tenants_own_jobs(database: Database) -> None:
    for _ in range(5):
        submit(database, "long")

    assert submit(database, "short").queue_position == 1
    assert submit(database, "long").queue_position == 6


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_claims_do_not_scan_the_queue(database: Database) -> None:
    submit(database, "one")
    asked: list[tuple[str, Any]] = []
    event.listen(database._engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))

    claim(database, width=16, most=5)

    statements = [(sql, values) for sql, values in asked if "jobs" in sql and not sql.startswith("INSERT")]
    with database.reading() as connection:
        plans = [
            step.detail
            for sql, values in statements
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        ]
    assert len(statements) >= 3
    assert [step for step in plans if step.startswith("SCAN jobs")] == []
    assert any("ix_jobs_claim_tenant" in step for step in plans)
    assert any("ix_jobs_class (device_request=? AND worker_labels=? AND" in step for step in plans)
    assert any("ix_jobs_class_shape (tenant=? AND shape_key=? AND device_request=? AND" in step for step in plans)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_postgres_finds_tenants_and_heads_by_index(database: Database) -> None:
    template = submit(database, "t0").id
    copied = [column.name for column in jobs.jobs.c if column.name not in ("id", "tenant")]
    names = ", ".join(copied)
    with database.transaction() as connection:
        connection.execute(
            text(
                f"INSERT INTO jobs (id, tenant, {names}) SELECT 'job_' || n, 't' || n % 3, {names} "
                "FROM jobs, generate_series(1, 3000) AS n WHERE id = :template"
            ),
            {"template": template},
        )
    with database.transaction() as connection:
        connection.execute(text("ANALYZE jobs"))
    asked: list[tuple[str, Any]] = []
    event.listen(database._engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))

    claim(database)

    reads = [(sql, values) for sql, values in asked if "jobs" in sql and sql.startswith(("SELECT", "WITH"))]
    assert len(reads) >= 4
    with database.transaction() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars() for sql, values in reads]
        plan = "\n".join(line for lines in plans for line in lines)
    assert "Seq Scan on jobs" not in plan
    assert "ix_jobs_claim_tenant" in plan
    assert "ix_jobs_class" in plan
