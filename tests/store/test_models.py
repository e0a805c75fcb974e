"""Versions of models own their files: no deletion of a job, and no race with one, takes them away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import update

from service.domain.access import DEFAULT_TENANT, Actor
from service.domain.checkpoint import CheckpointKind
from service.domain.model import ModelVersion
from service.errors import Conflict, NotFound
from service.store import checkpoints, usage
from service.store.engine import Database
from service.store.jobs import jobs
from service.store.maintenance import garbage, retention
from service.store.maintenance.artifact_refs import collectable, referenced
from service.store.models import aliases, models, versions
from service.store.models.versions import NewModelVersion
from service.store.schema import jobs as jobs_table
from tests.api.job_factory import JobFactory

SOMEBODY = Actor(key="key_1", name="ci")


def path_of(database: Database, job_id: str) -> str:
    with database.reading(DEFAULT_TENANT) as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.best).path


def delete_job(database: Database, job_id: str) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        jobs.remove(connection, job_id)


def garbage_of(database: Database, path: str) -> tuple[bool, bool]:
    """(whether the file is marked as garbage, whether it may be collected)."""
    with database.reading() as connection:
        marked = path in garbage.marks(connection, [path])
        return marked, path in collectable(connection, [path])


def delete_version(database: Database, version: ModelVersion) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        model = models.lock(connection, version.model)
        for alias in aliases.pointing(connection, model.id, version.version):
            aliases.remove(connection, model.id, alias, SOMEBODY)
        versions.remove(connection, version.model, version.version)


def test_a_file_is_garbage_when_neither_a_job_nor_a_version_has_it(database: Database, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id
    path = path_of(database, job_id)
    one, two = job_factory.published(job_id), job_factory.published(job_id)

    delete_job(database, job_id)
    assert garbage_of(database, path) == (False, False)
    delete_version(database, one)
    assert garbage_of(database, path) == (False, False)
    delete_version(database, two)
    assert garbage_of(database, path) == (True, True)


def test_retention_keeps_the_files_of_versions(database: Database, job_factory: JobFactory) -> None:
    kept, lost = (job_factory.trained().job_id for _ in range(2))
    paths = [path_of(database, job_id) for job_id in (kept, lost)]
    version = job_factory.published(kept)
    old = datetime.now(UTC) - timedelta(days=10)
    with database.transaction() as connection:
        connection.execute(update(jobs_table).values(finished_at=old))
        assert retention.delete_jobs(connection, old + timedelta(days=1), 10) == 2

    assert [garbage_of(database, path) for path in paths] == [(False, False), (True, True)]
    with database.reading(DEFAULT_TENANT) as connection:
        assert versions.get(connection, version.model, 1) == version


def test_a_shared_file_counts_once_until_the_last_owner_is_deleted(database: Database, job_factory: JobFactory) -> None:
    def stored() -> int:
        with database.reading(DEFAULT_TENANT) as connection:
            return usage.read(connection).stored.checkpoints

    job_id = job_factory.trained().job_id
    before = stored()
    found = [job_factory.published(job_id) for _ in range(2)]

    assert stored() == before > 0
    delete_job(database, job_id)
    delete_version(database, found[0])
    assert stored() == before
    delete_version(database, found[1])
    assert stored() == 0


def test_a_job_deleted_meanwhile_is_not_published(database: Database, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id
    new = job_factory.new_version(job_id)
    delete_job(database, job_id)

    with pytest.raises(NotFound, match=job_id), database.transaction(DEFAULT_TENANT) as connection:
        versions.create(connection, new)

    with database.reading(DEFAULT_TENANT) as connection:
        assert models.find(connection, limit=10) == []


def at_once(*works: Callable[[], object]) -> list[type[Exception] | None]:
    """Run these at the same time, each in a thread; which expected error each of them raised."""
    barrier = threading.Barrier(len(works))
    outcomes: list[type[Exception] | None] = [None] * len(works)

    def run(place: int) -> None:
        barrier.wait()
        try:
            works[place]()
        except (Conflict, NotFound) as error:
            outcomes[place] = type(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def publish(database: Database, new: NewModelVersion) -> int:
    with database.transaction(DEFAULT_TENANT) as connection:
        return versions.create(connection, new)[0].version


def move(database: Database, alias: str, version: int, expected: int | None = None) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        model = models.lock(connection, "our-model")
        aliases.move(connection, model.id, alias, version, SOMEBODY, expected=expected)


def remove(database: Database, version: int) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        versions.remove(connection, "our-model", version)


def test_publishing_and_deleting_a_job_at_once_never_loses_a_file(database: Database, job_factory: JobFactory) -> None:
    """Either the job is gone first, and nothing is published, or the version keeps the file."""
    for turn in range(12):
        job_id = job_factory.trained().job_id
        path = path_of(database, job_id)
        new = job_factory.new_version(job_id, name=f"model-{turn}")

        error, _ = at_once(partial(publish, database, new), partial(delete_job, database, job_id))

        with database.reading() as connection:
            assert referenced(connection, [path]) == (set() if error else {path})
        assert garbage_of(database, path)[1] is (error is NotFound)


def test_concurrent_versions_have_different_numbers(database: Database, job_factory: JobFactory) -> None:
    new = job_factory.new_version(job_factory.trained().job_id)

    at_once(*[partial(publish, database, new)] * 6)

    with database.reading(DEFAULT_TENANT) as connection:
        assert [each.version for each in versions.find(connection, "our-model", limit=10)] == [6, 5, 4, 3, 2, 1]
        (champion,) = models.get(connection, "our-model").aliases
    assert (champion.alias, champion.version) == ("champion", 1)


def test_of_moves_that_expect_the_same_version_one_succeeds(database: Database, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id
    for _ in range(5):
        job_factory.published(job_id)

    outcomes = at_once(*(partial(move, database, "champion", version, 1) for version in (2, 3, 4, 5)))

    assert sorted(map(str, outcomes)) == sorted(map(str, [Conflict, Conflict, Conflict, None]))


def test_a_version_is_not_deleted_while_an_alias_moves_to_it(database: Database, job_factory: JobFactory) -> None:
    """One of them is refused; an alias never points to a deleted version."""
    job_id = job_factory.trained().job_id
    job_factory.published(job_id)
    for _ in range(8):
        version = job_factory.published(job_id).version

        outcomes = at_once(partial(move, database, "next", version), partial(remove, database, version))

        assert outcomes in ([NotFound, None], [None, Conflict])
        with database.reading(DEFAULT_TENANT) as connection:
            assert aliases.served(connection, "our-model", version=1).members


def test_another_tenant_sees_nothing(database: Database, job_factory: JobFactory) -> None:
    job_factory.published()

    with database.reading("other") as connection:
        assert models.find(connection, limit=10) == []
        with pytest.raises(NotFound):
            aliases.served(connection, "our-model", alias="champion")
        with pytest.raises(NotFound):
            versions.get(connection, "our-model", 1)
