"""A mismatched pair of database and artifacts folder is refused at start, and nothing is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from service.artifacts import Artifacts, FolderArtifacts
from service.errors import Misconfigured
from service.maintenance.deployment_id import adopt, mismatch, pair
from service.store.engine import Database, migrate
from service.store.maintenance import artifact_refs
from service.store.schema import deployment
from tests.api.job_factory import JobFactory

pytestmark = pytest.mark.e2e

OLD = 2 * 24 * 3_600.0


def id_of(database: Database) -> tuple[str, bool]:
    with database.reading() as connection:
        row = connection.execute(select(deployment)).one()
    return row.id, row.paired


def test_concurrent_starts_give_a_new_database_and_folder_the_same_id(database: Database, artifacts: Artifacts) -> None:
    starts = [threading.Thread(target=pair, args=(database, FolderArtifacts(artifacts.root))) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join(20)

    assert id_of(database) == (artifacts.deployment_id(), True)
    pair(database, artifacts)


def test_a_start_during_the_pairing_of_another_one_succeeds(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other start happens between two reads of this one."""
    calls: list[str] = []
    for owner, name in ((artifact_refs, "deployment_id"), (Artifacts, "deployment_id")):
        real = getattr(owner, name)

        def first_another(*arguments: Any, real: Any = real) -> Any:
            calls.append("")
            if len(calls) == 2:
                monkeypatch.undo()
                pair(database, FolderArtifacts(artifacts.root))
            return real(*arguments)

        monkeypatch.setattr(owner, name, first_another)

    pair(database, artifacts)

    assert len(calls) == 2
    assert id_of(database) == (artifacts.deployment_id(), True)


def test_every_database_has_a_unique_id(tmp_path: Path) -> None:
    found = set()
    for name in "ab":
        migrate(f"sqlite:///{tmp_path / name}.db")
        database = Database(f"sqlite:///{tmp_path / name}.db")
        found.add(id_of(database)[0])
        database.close()

    assert len(found) == 2


def test_a_deployment_older_than_the_id_is_paired(job_factory: JobFactory) -> None:
    """Its database refers to a file in the folder; other files may have been left by a crash."""
    job_factory.artifacts.put("checkpoints/job_0/a", b"x")
    job_factory.trained()

    pair(job_factory.database, job_factory.artifacts)

    assert id_of(job_factory.database) == (job_factory.artifacts.deployment_id(), True)


def test_an_empty_database_beside_files_without_an_id_is_refused(database: Database, artifacts: Artifacts) -> None:
    artifacts.put("checkpoints/job_0/a", b"x")

    with pytest.raises(Misconfigured, match="has files, but the database refers to none of them"):
        pair(database, artifacts)

    assert artifacts.deployment_id() is None
    assert not id_of(database)[1]


def test_the_folder_of_another_database_is_refused_until_it_is_adopted(
    database: Database, artifacts: Artifacts
) -> None:
    artifacts.put("checkpoints/job_0/a", b"x")
    artifacts.set_deployment_id("dep_of_another")
    with pytest.raises(Misconfigured, match="belongs to another database: its id is dep_of_another"):
        pair(database, artifacts)

    assert adopt(database, artifacts) == (1, 0)

    pair(database, artifacts)
    assert id_of(database) == (artifacts.deployment_id(), True)


def test_a_folder_whose_volume_is_not_mounted_is_refused(database: Database, artifacts: Artifacts) -> None:
    pair(database, artifacts)
    artifacts.path("deployment-id").unlink()

    with pytest.raises(Misconfigured, match="is the volume mounted"):
        pair(database, artifacts)


def test_an_interrupted_pairing_is_completed_at_the_next_start(database: Database, artifacts: Artifacts) -> None:
    pair(database, artifacts)
    artifacts.put("checkpoints/job_0/a", b"x")
    with database.transaction() as connection:
        connection.execute(update(deployment).values(paired=False))

    assert mismatch(database, artifacts) is None
    pair(database, artifacts)

    assert id_of(database)[1]


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_a_start_with_an_empty_database_is_refused_and_deletes_nothing(tmp_path: Path, command: str) -> None:
    """The folder has seven files that are two days old."""
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    for number in range(7):
        key = f"checkpoints/job_{number}/1-best-1.safetensors"
        artifacts.put(key, b"x")
        os.utime(artifacts.path(key), (time.time() - OLD,) * 2)
    migrate(f"sqlite:///{tmp_path / 'bestepoch.db'}")
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path), "BESTEPOCH_PORT": "0", "BESTEPOCH_TRAINERS": "1"}

    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", command], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        _, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.terminate()
        _, stderr = process.communicate(timeout=40)

    assert len(list(artifacts.files())) == 7
    assert process.returncode == 2
    assert "has files, but the database refers to none of them" in stderr
    assert "run `bestepoch adopt`" in stderr


def bestepoch(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BESTEPOCH_HOME": str(home)}
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_adopt_resolves_the_mismatch(tmp_path: Path) -> None:
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    artifacts.put("checkpoints/job_0/a", b"x")
    migrate(f"sqlite:///{tmp_path / 'bestepoch.db'}")

    refused = bestepoch(tmp_path, "collect", "--dry-run")
    adopted = bestepoch(tmp_path, "adopt")
    listed = bestepoch(tmp_path, "collect", "--dry-run")
    collected = bestepoch(tmp_path, "collect")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("bestepoch: the artifact store ")
    assert adopted.stdout.strip().endswith("belongs to this database now, which references 0 of its 1 files")
    assert listed.stdout.splitlines() == [
        "checkpoints/job_0/a  would be removed in 24.0 hours",
        "0 of 1 files would be removed",
    ]
    assert (collected.returncode, collected.stdout.splitlines()[-1]) == (
        0,
        "1 file waiting for the end of the grace period",
    )
    assert artifacts.path("checkpoints/job_0/a").exists()
