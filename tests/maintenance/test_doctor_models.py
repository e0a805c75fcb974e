"""The doctor checks the files that versions of models keep."""

from __future__ import annotations

from sqlalchemy import delete

from service.domain.access import DEFAULT_TENANT
from service.store.jobs import jobs
from service.store.model_tables import model_members
from tests.api.job_factory import JobFactory
from tests.maintenance.damage import damage, examined, file_of, trained


def published_alone(job_factory: JobFactory) -> str:
    """The id of a job that is deleted, after two versions of it were published."""
    job_id = trained(job_factory)
    for name in ("one", "two"):
        job_factory.published(job_id, name=name)
    assert examined(job_factory) == []
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        jobs.remove(connection, job_id)
    return job_id


def test_the_files_of_versions_without_jobs_are_verified(job_factory: JobFactory) -> None:
    job_id = published_alone(job_factory)
    assert examined(job_factory) == []
    file = file_of(job_factory, job_id)
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    (problem,) = examined(job_factory)

    assert problem.startswith("model one:1: the file of its member is corrupt: its SHA-256 differs")
    assert problem.endswith("or delete the version and publish the job again")


def test_a_version_without_members_is_reported(job_factory: JobFactory) -> None:
    job_factory.published(trained(job_factory))
    damage(job_factory, delete(model_members))

    (problem,) = examined(job_factory)

    assert problem == "model our-model:1: it has no members; stop the service and restore the latest backup"
