"""Large sweeps are stored in chunks: atomic, and without blocking others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT
from service.errors import Unavailable
from service.maintenance.collector import Collector, RetentionPolicy
from service.store import sweeps, usage
from service.store.engine import Database, TenantDatabase
from service.store.jobs import jobs
from service.store.jobs.claim import claim_jobs, has_queued
from service.store.jobs.claim_order import Claimant
from service.store.maintenance import retention, statistics
from service.store.schema import events
from service.store.schema import jobs as jobs_table
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.maintenance.damage import examined
from tests.specs import REFERENCE, synthetic

SWEEP: dict[str, Any] = {"base": REFERENCE, "replicates": 50, "grid": {"optimizer.lr": [0.1, 0.2, 0.3]}}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the chunk size, so that 150 jobs take several chunks."""
    monkeypatch.setattr(sweeps, "CHUNK", 20)


def count(database: Database, table: Any = jobs_table) -> int:
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


@contextmanager
def pausing(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Requests block before their transaction of this number: gives (event of arrival, event to continue)."""
    there, go_on, real, begun = threading.Event(), threading.Event(), TenantDatabase.transaction, list[int]()

    def transaction(tenants: TenantDatabase) -> Any:
        begun.append(1)
        if len(begun) == number:
            there.set()
            assert go_on.wait(20)
        return real(tenants)

    monkeypatch.setattr(TenantDatabase, "transaction", transaction)
    try:
        yield there, go_on
    finally:
        go_on.set()


@both_databases
def test_a_partly_stored_sweep_is_invisible(
    client: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, answers = job_factory.database, list[Any]()
    with pausing(monkeypatch, 8) as (there, go_on):
        posting = threading.Thread(target=lambda: answers.append(client.post("/v1/sweeps", json=SWEEP)))
        posting.start()
        assert there.wait(20)

        assert count(database) == 130
        assert client.get("/v1/jobs").json()["data"] == client.get("/v1/sweeps").json()["data"] == []
        with database.transaction() as connection:
            assert not has_queued(connection)
            assert claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=16, trainers=1), seconds=15.0) == []
        with database.reading() as connection:
            assert statistics.read(connection).jobs == {}
            assert usage.read(connection).waiting == 0
        assert examined(job_factory) == []
        job_factory.queued()
        go_on.set()
        posting.join()

    (answer,) = answers
    assert (answer.status_code, answer.json()["counts"]["queued"]) == (201, 150)
    listed = client.get(f"/v1/jobs?sweep={answer.json()['id']}&limit=100").json()["data"]
    assert [job["spec"]["seed"] for job in listed[:50]] == list(range(49, -1, -1))
    log = client.get(f"/v1/jobs/{listed[-1]['id']}/events").json()["data"]
    assert [(entry["number"], entry["kind"]) for entry in log] == [(1, "queued")]
    assert examined(job_factory) == []


@both_databases
def test_a_failed_sweep_leaves_nothing_and_can_be_retried(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, chunks = jobs.stage, list[int]()

    def failing(connection: Any, rows: Any) -> None:
        chunks.append(len(rows))
        if len(chunks) == 4:
            raise Unavailable
        real(connection, rows)

    monkeypatch.setattr(jobs, "stage", failing)
    headers = {"Idempotency-Key": "night"}

    first = client.post("/v1/sweeps", json=SWEEP, headers=headers)
    left = count(database), count(database, events)
    second = client.post("/v1/sweeps", json=SWEEP, headers=headers)
    third = client.post("/v1/sweeps", json=SWEEP, headers=headers)

    assert (first.status_code, left) == (503, (0, 0))
    assert (second.status_code, third.status_code) == (201, 200)
    assert second.json()["id"] == third.json()["id"]
    assert count(database) == 150


@both_databases
def test_parallel_posts_of_one_large_sweep_with_one_key_make_one(client: TestClient, database: Database) -> None:
    answers: list[Any] = []

    def post() -> None:
        answers.append(client.post("/v1/sweeps", json=SWEEP, headers={"Idempotency-Key": "same"}))

    posting = [threading.Thread(target=post) for _ in range(2)]
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join()

    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(database) == 150


@both_databases
def test_staged_jobs_of_a_killed_process_are_garbage_collected(job_factory: JobFactory) -> None:
    database = job_factory.database
    job_factory.queued()
    rows = [{**jobs.new_row(synthetic(), DEFAULT_TENANT), "point": {}} for _ in range(30)]
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.stage(connection, rows)

    Collector(database, job_factory.artifacts, RetentionPolicy()).collect(threading.Event())
    assert count(database) == 31  # they may yet be needed
    with database.transaction() as connection:
        assert retention.delete_staged(connection, datetime.now(UTC) + timedelta(hours=1), 20) == 20
        assert retention.delete_staged(connection, datetime.now(UTC) + timedelta(hours=1), 20) == 10

    assert count(database) == 1
    assert count(database, events) == 1


def test_posts_of_others_are_stored_between_the_chunks_of_a_sweep(client: TestClient, database: Database) -> None:
    """SQLite has one write lock, and numbers rows in the order in which they were inserted."""
    answers: list[Any] = []
    posting = threading.Thread(target=lambda: answers.append(client.post("/v1/sweeps", json=SWEEP)))
    posting.start()
    while posting.is_alive():
        assert client.post("/v1/jobs", json=REFERENCE).status_code == 201
    with database.reading() as connection:
        stored = connection.scalars(text("SELECT sweep_id IS NOT NULL FROM jobs ORDER BY rowid")).all()

    assert answers[0].status_code == 201
    first, last = stored.index(1), len(stored) - 1 - stored[::-1].index(1)
    assert stored[first:last].count(0) > 0
