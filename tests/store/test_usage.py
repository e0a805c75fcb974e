"""Usage of a tenant is summed by index scans."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.store import datasets, usage
from service.store.engine import Database
from service.store.jobs import actions, jobs
from tests.spec import tables
from tests.store.records import checkpoint, claim, dataset, publish, submit


def explained(database: Database) -> list[str]:
    """Query plans of all statements that reading the usage takes."""
    said: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    with database.transaction("default") as connection:
        event.listen(connection.engine, "before_cursor_execute", listen)
        usage.read(connection)
        event.remove(connection.engine, "before_cursor_execute", listen)
        if not database.is_sqlite:
            for other in ("seqscan", "bitmapscan"):  # which would be quicker for a few rows
                connection.execute(text(f"SET LOCAL enable_{other} = off"))
        how = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plans = [connection.exec_driver_sql(f"{how} {statement}", parameters).all() for statement, parameters in said]
    return ["\n".join(str(row) for row in plan) for plan in plans]


def test_files_and_data_sets_are_summed_by_covering_indexes(database: Database) -> None:
    submit(database)
    plans = explained(database)

    for index in ("ix_datasets_bytes", "ix_checkpoints_bytes"):
        (plan,) = [plan for plan in plans if index in plan]
        assert "COVERING INDEX" in plan or "Index Only Scan" in plan


@pytest.mark.parametrize("kind", list(CheckpointKind))
def test_bytes_that_a_running_job_has_written_are_no_longer_expected(database: Database, kind: CheckpointKind) -> None:
    submit(database)
    with database.reading("default") as connection:
        before = usage.read(connection).stored
    running = claim(database)[0]
    large = checkpoint(kind, 1).model_copy(update={"size_bytes": before.expected - 10})

    publish(database, running, large)

    with database.reading("default") as connection:
        after = usage.read(connection).stored
    assert (after.checkpoints, after.expected) == (large.size_bytes, 10)
    # Without the specs: Postgres may compress them when it writes the row again.
    assert after.total - after.specs == before.total - before.specs


def digests(seed: int) -> tuple[str, ...]:
    """20 texts that Postgres can hardly compress."""
    return tuple(hashlib.sha256(f"{seed} {number}".encode()).hexdigest() for number in range(20))


def test_resolved_specs_count_while_they_are_stored(database: Database) -> None:
    texts = [tables.column(f"text {number}", "text", distinct=20) for number in range(200)]
    resolved = tables.resolved(tables.table(tables.column("species", "text", distinct=3), *texts))
    inputs = [replace(feature, categories=digests(place)) for place, feature in enumerate(resolved.features)]
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset(), path="datasets/ds_1/data.parquet", options="{}")
        submitted, _ = jobs.submit(connection, replace(resolved, features=tuple(inputs)), max_queued=10)

    def specs() -> int:
        with database.reading(DEFAULT_TENANT) as connection:
            return usage.read(connection).stored.specs

    assert specs() > 100_000
    with database.transaction(DEFAULT_TENANT) as connection:
        actions.cancel(connection, submitted.id)
        jobs.remove(connection, submitted.id)
    assert specs() > 100_000
    with database.transaction(DEFAULT_TENANT) as connection:
        datasets.remove(connection, "ds_1")
    assert specs() == 0
