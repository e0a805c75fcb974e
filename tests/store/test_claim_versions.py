"""Rows of newer versions: claimed only by workers that can read them, and readable by all."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from service.domain.status import Status
from service.spec.job import SPEC_VERSION
from service.store.engine import Database
from service.store.jobs.claim import has_queued
from service.store.schema import jobs
from tests.store.records import claim, submit


def rewrite(database: Database, job_id: str, **values: Any) -> None:
    """Change the job's row; `new` is added to its spec."""
    with database.transaction() as connection:
        if "new" in values:
            spec = connection.scalar(select(jobs.c.spec).where(jobs.c.id == job_id))
            values["spec"] = {**spec, **values.pop("new")}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))


def status(database: Database, job_id: str) -> str:
    with database.reading() as connection:
        return str(connection.scalar(select(jobs.c.status).where(jobs.c.id == job_id)))


def test_a_job_of_a_newer_spec_version_stays_queued_without_blocking_others(database: Database) -> None:
    newer, behind = submit(database), submit(database)
    rewrite(database, newer.id, new={"label_noise": 0.1}, spec_version=SPEC_VERSION + 1)

    claimed = claim(database, width=4)

    assert [each.job_id for each in claimed] == [behind.id]
    assert claim(database) == []
    assert status(database, newer.id) == Status.queued
    with database.reading() as connection:
        assert not has_queued(connection)


def test_a_job_of_a_newer_version_without_new_features_is_claimed(database: Database) -> None:
    submitted = submit(database)
    rewrite(database, submitted.id, new={"label_noise": 0.0, "optimizer": {"kind": "adam", "lr": 0.1, "fused": False}})

    (taken,) = claim(database)

    assert (taken.job_id, taken.spec.optimizer.lr) == (submitted.id, 0.1)
