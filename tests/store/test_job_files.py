"""Files of ended jobs beside their checkpoints: one of each kind, also when two processes write it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from service.domain.access import DEFAULT_TENANT
from service.domain.job_file import JobFile, JobFileKind
from service.errors import NotFound
from service.store import job_files
from service.store.engine import Database
from service.store.jobs import actions, jobs
from service.store.maintenance import garbage
from tests.processes import until
from tests.store.records import submit


def report(number: int) -> JobFile:
    path, now = f"jobs/job_1/report-{number}.json", datetime.now(UTC)
    return JobFile(kind=JobFileKind.report, sha256=f"{number:064}", size_bytes=number, path=path, created_at=now)


def replace(database: Database, job_id: str, file: JobFile) -> None:
    with database.transaction() as connection:
        job_files.replace(connection, job_id, file, DEFAULT_TENANT)


def test_a_file_replaces_the_earlier_one_of_its_kind(database: Database) -> None:
    job_id = submit(database).id

    for number in (1, 2):
        replace(database, job_id, report(number))

    with database.reading() as connection:
        found = job_files.find(connection, job_id, JobFileKind.report)
        assert found is not None
        assert found.path == report(2).path
        assert garbage.marks(connection, [report(1).path, report(2).path]).keys() == {report(1).path}


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_two_processes_that_store_the_same_kind_of_file_wait_for_each_other(database: Database) -> None:
    job_id = submit(database).id

    def waits() -> bool:
        with database.reading() as connection:
            return bool(connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").all())

    with ThreadPoolExecutor(1) as other:
        with database.transaction() as connection:
            job_files.replace(connection, job_id, report(1), DEFAULT_TENANT)
            second = other.submit(replace, database, job_id, report(2))
            until(waits)
        second.result()

    with database.reading() as connection:
        found = job_files.find(connection, job_id, JobFileKind.report)
    assert found is not None
    assert found.path == report(2).path


def test_a_deleted_job_gets_no_file(database: Database) -> None:
    job_id = submit(database).id
    with database.transaction(DEFAULT_TENANT) as connection:
        actions.cancel(connection, job_id)
        jobs.remove(connection, job_id)

    with pytest.raises(NotFound):
        replace(database, job_id, report(1))
