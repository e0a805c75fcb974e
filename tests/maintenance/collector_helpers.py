"""Helpers of the garbage collector's tests: run collections, advance the collection clock, write files."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from service.artifacts import Artifacts
from service.maintenance.collector import DAY, CollectionReport, Collector, RetentionPolicy
from service.store.engine import Database
from service.store.maintenance import garbage
from service.store.schema import collections
from service.store.schema import garbage as garbage_table
from service.store.schema import jobs as jobs_table
from tests.api.job_factory import JobFactory


def collect_once(job_factory: JobFactory, keep_days: int = 0, *, force: bool = False) -> CollectionReport:
    """Run one collection."""
    return Collector(job_factory.database, job_factory.artifacts, RetentionPolicy(keep_days)).collect(
        threading.Event(), force=force
    )


def advance_clock(database: Database, seconds: float = DAY) -> None:
    """Advance the collection clock: make earlier collections and marks older, and begin a collection."""
    with database.transaction() as connection:
        now = garbage.begin(connection)
        connection.execute(
            update(collections).where(collections.c.number < now.number).values(clock=collections.c.clock - seconds)
        )
        connection.execute(update(garbage_table).values(since=garbage_table.c.since - seconds))


def collect(job_factory: JobFactory, keep_days: int = 0) -> CollectionReport:
    """Run two collections, a day apart by the collection clock."""
    collect_once(job_factory, keep_days)
    advance_clock(job_factory.database)
    return collect_once(job_factory, keep_days)


def put(artifacts: Artifacts, *keys: str) -> None:
    for key in keys:
        artifacts.put(key, b"x")


def keys(artifacts: Artifacts) -> set[str]:
    return {file.key for file in artifacts.files()}


def set_end_time(database: Database, *job_ids: str, days: float = 10) -> None:
    then = datetime.now(UTC) - timedelta(days=days)
    with database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id.in_(job_ids)).values(finished_at=then))


def statistics(database: Database) -> garbage.CollectionStatistics:
    with database.reading() as connection:
        return garbage.statistics(connection)
