"""Collector, doctor and deployment id with an object store: nothing in them depends on a folder."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from service.artifacts import Artifacts
from service.artifacts.cache import FileCache
from service.artifacts.objects import ObjectArtifacts
from service.errors import Misconfigured, StorageError
from service.maintenance import deployment_id
from service.maintenance.doctor import Doctor
from service.store.engine import Database, migrate
from tests.api.job_factory import JobFactory
from tests.maintenance.collector_helpers import advance_clock, collect, collect_once, keys, put

ORPHAN = "checkpoints/job_0/1-best-3.safetensors"


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def artifacts(bucket: MemoryStore, tmp_path: Path) -> Artifacts:
    return ObjectArtifacts(bucket, "memory://bucket", FileCache(tmp_path / "cache", 2**30))


@pytest.fixture
def job_factory(database: Database, artifacts: Artifacts) -> JobFactory:
    deployment_id.pair(database, artifacts)
    return JobFactory(database, artifacts)


def examined(job_factory: JobFactory) -> list[str]:
    return [str(problem) for problem in Doctor(job_factory.database, job_factory.artifacts).examine()]


def test_orphans_go_to_the_trash_and_are_deleted_after_its_lifetime(
    job_factory: JobFactory, artifacts: Artifacts
) -> None:
    job_factory.trained()
    before = keys(artifacts)
    put(artifacts, ORPHAN)

    collect(job_factory)
    assert keys(artifacts) == before
    assert [file.key for file in artifacts.trash()] == [f"trash/{ORPHAN}"]

    for _ in range(8):
        collect_once(job_factory)
        advance_clock(job_factory.database)
    collect_once(job_factory)
    assert list(artifacts.trash()) == []
    assert keys(artifacts) == before


def test_the_doctor_finds_changed_missing_and_trashed_objects(
    job_factory: JobFactory, artifacts: Artifacts, bucket: MemoryStore
) -> None:
    job_factory.trained()
    (file,) = artifacts.files()
    assert not [problem for problem in examined(job_factory) if "the file of" in problem]

    obstore.put(bucket, file.key, b"x" * file.size_bytes)
    assert any("is corrupt: its SHA-256 differs" in problem for problem in examined(job_factory))

    artifacts.move_to_trash(file.key)
    assert any(
        f"it is in the trash: move memory://bucket/trash/{file.key} to memory://bucket/{file.key}" in problem
        for problem in examined(job_factory)
    )

    artifacts.delete(f"trash/{file.key}")
    assert any("is missing" in problem for problem in examined(job_factory))


def test_the_store_of_another_database_is_refused_until_it_is_adopted(
    job_factory: JobFactory, artifacts: Artifacts, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    other = Database(url)

    with pytest.raises(Misconfigured, match="the artifact store memory://bucket belongs to another database"):
        deployment_id.pair(other, artifacts)

    deployment_id.adopt(other, artifacts)
    deployment_id.pair(other, artifacts)
    other.close()


def test_of_two_new_databases_one_gets_the_empty_store(
    job_factory: JobFactory, bucket: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has checked the store before the first one wrote its id."""
    late = ObjectArtifacts(bucket, "memory://bucket", FileCache(tmp_path / "other", 100))
    monkeypatch.setattr(late, "deployment_id", lambda: None)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    other = Database(url)

    with pytest.raises(StorageError, match="has another file at memory://bucket/deployment-id"):
        deployment_id.pair(other, late)

    deployment_id.pair(job_factory.database, job_factory.artifacts)
    other.close()
