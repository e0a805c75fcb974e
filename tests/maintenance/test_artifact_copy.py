"""A deployment's files are copied to another store: all, verified, again and again until nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.artifacts import Artifacts, FolderArtifacts
from service.errors import Misconfigured
from service.maintenance.artifact_copy import ArtifactCopier
from service.maintenance.deployment_id import pair
from service.maintenance.doctor import Doctor
from service.maintenance.file_refs import file_refs
from tests.api.job_factory import JobFactory

pytestmark = pytest.mark.usefixtures("paired")


@pytest.fixture
def target(tmp_path: Path) -> Artifacts:
    return FolderArtifacts(tmp_path / "other")


def copier(job_factory: JobFactory, target: Artifacts) -> ArtifactCopier:
    return ArtifactCopier(job_factory.database, job_factory.artifacts, target)


def keys_of(job_factory: JobFactory) -> set[str]:
    return {file.path for file in file_refs(job_factory.database)}


def test_all_files_are_copied_until_nothing_is_missing(job_factory: JobFactory, target: Artifacts) -> None:
    job_factory.trained()
    job_factory.artifacts.put("checkpoints/job_gone/best-1", b"no row refers to it")
    first = copier(job_factory, target).copy()
    job_factory.trained()
    second, third = (copier(job_factory, target).copy() for _ in range(2))

    keys = keys_of(job_factory)
    assert len(keys) >= 2
    assert {file.key for file in target.files()} == keys
    assert first.copied > 0
    assert second.copied > 0
    assert (second.present, third.copied, third.present) == (first.copied, 0, len(keys))
    pair(job_factory.database, target)
    doctor = Doctor(job_factory.database, target)
    assert [str(finding) for finding in doctor.examine() if "file" in str(finding)] == []
    assert doctor.findings.files == len(keys)


def test_damaged_files_are_reported_in_the_source_and_replaced_in_the_target(
    job_factory: JobFactory, target: Artifacts
) -> None:
    job_factory.trained()
    copier(job_factory, target).copy()
    key = min(keys_of(job_factory))
    path = target.path(key, "")
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))

    assert copier(job_factory, target).copy().copied == 0  # of the right size
    assert copier(job_factory, target).copy(verify=True).copied == 1
    assert path.read_bytes() == whole

    path.unlink()
    job_factory.artifacts.path(key, "").write_bytes(bytes(len(whole)))
    assert copier(job_factory, target).copy().problems == [f"{key}: it is corrupt: its SHA-256 differs"]
    assert not path.exists()


def test_a_missing_file_is_a_problem(job_factory: JobFactory, target: Artifacts) -> None:
    job_factory.trained()
    key = min(keys_of(job_factory))
    job_factory.artifacts.delete(key)

    assert copier(job_factory, target).copy().problems == [f"{key}: it is missing"]


def test_stores_of_other_deployments_and_the_source_are_refused(job_factory: JobFactory, target: Artifacts) -> None:
    target.set_deployment_id("another")

    with pytest.raises(Misconfigured, match="belongs to another deployment: another"):
        copier(job_factory, target)
    with pytest.raises(Misconfigured, match="the same store"):
        copier(job_factory, job_factory.artifacts)
