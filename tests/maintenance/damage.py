"""A deployment that tests damage and the doctor examines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import update

from service.maintenance.doctor import Doctor
from service.store.schema import jobs as jobs_table
from tests.api.job_factory import JobFactory


def examined(job_factory: JobFactory) -> list[str]:
    return [str(problem) for problem in Doctor(job_factory.database, job_factory.artifacts).examine()]


def damage(job_factory: JobFactory, statement: Any) -> None:
    with job_factory.database.transaction() as connection:
        connection.execute(statement)


def trained(job_factory: JobFactory) -> str:
    """A consistent job: its best epoch is 3."""
    job_id = job_factory.trained(epochs=3).job_id
    with job_factory.database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(best_value=1 / 3))
    return job_id


def change(job_id: str, **values: Any) -> Any:
    return update(jobs_table).where(jobs_table.c.id == job_id).values(**values)


def file_of(job_factory: JobFactory, job_id: str) -> Path:
    (file,) = [file for file in job_factory.artifacts.files() if job_id in file.key]
    return job_factory.artifacts.path(file.key)
