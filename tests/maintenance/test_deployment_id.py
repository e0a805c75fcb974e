"""A database and an artifacts folder that do not belong together start nothing and lose nothing."""

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

from service.artifacts import Artifacts
from service.errors import Misconfigured
from service.maintenance.deployment_id import adopt, join, mismatch
from service.store.engine import Database, migrate
from service.store.maintenance import deployment_id as store_deployment
from service.store.schema import deployment
from tests.api.states import Kitchen

OLD = 2 * 24 * 3_600.0


def id_of(database: Database) -> tuple[str, bool]:
    with database.reading() as connection:
        row = connection.execute(select(deployment)).one()
    return row.id, row.paired


def test_a_new_database_and_a_new_folder_get_one_id_however_many_start_at_once(
    database: Database, artifacts: Artifacts
) -> None:
    starts = [threading.Thread(target=join, args=(database, Artifacts(artifacts.root))) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join(20)

    assert id_of(database) == (artifacts.deployment_id(), True)
    join(database, artifacts)


def test_a_start_while_another_one_gives_the_folder_its_id_is_not_refused(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two looks of this one, all of the other one's start may happen."""
    looks: list[str] = []
    for owner, name in ((store_deployment, "read"), (Artifacts, "deployment_id")):
        look = getattr(owner, name)

        def first_another(*arguments: Any, look: Any = look) -> Any:
            looks.append("")
            if len(looks) == 2:
                monkeypatch.undo()
                join(database, Artifacts(artifacts.root))
            return look(*arguments)

        monkeypatch.setattr(owner, name, first_another)

    join(database, artifacts)

    assert len(looks) == 2
    assert id_of(database) == (artifacts.deployment_id(), True)


def test_every_database_has_an_id_of_its_own(tmp_path: Path) -> None:
    found = set()
    for name in "ab":
        migrate(f"sqlite:///{tmp_path / name}.db")
        database = Database(f"sqlite:///{tmp_path / name}.db")
        found.add(id_of(database)[0])
        database.close()

    assert len(found) == 2


def test_a_deployment_from_before_there_were_ids_goes_on(kitchen: Kitchen) -> None:
    """Its database names a file of its folder; what else lies there may be a crash's."""
    kitchen.artifacts.put("checkpoints/job_0/a", b"x")
    kitchen.trained()

    join(kitchen.database, kitchen.artifacts)

    assert id_of(kitchen.database) == (kitchen.artifacts.deployment_id(), True)


def test_an_empty_database_beside_files_without_an_id_is_refused(database: Database, artifacts: Artifacts) -> None:
    artifacts.put("checkpoints/job_0/a", b"x")

    with pytest.raises(Misconfigured, match="has files, and the database names none of them"):
        join(database, artifacts)

    assert artifacts.deployment_id() is None
    assert not id_of(database)[1]


def test_a_new_database_beside_another_ones_folder_is_refused_until_somebody_says_so(
    database: Database, artifacts: Artifacts
) -> None:
    artifacts.put("checkpoints/job_0/a", b"x")
    artifacts.set_deployment_id("dep_of_another")
    with pytest.raises(Misconfigured, match="belongs to another database: its id is dep_of_another"):
        join(database, artifacts)

    assert adopt(database, artifacts) == (1, 0)

    join(database, artifacts)
    assert id_of(database) == (artifacts.deployment_id(), True)


def test_a_folder_whose_volume_is_not_mounted_is_refused(database: Database, artifacts: Artifacts) -> None:
    join(database, artifacts)
    artifacts.path("deployment-id").unlink()

    with pytest.raises(Misconfigured, match="is the volume mounted"):
        join(database, artifacts)


def test_a_start_that_died_between_file_and_row_is_made_up_for(database: Database, artifacts: Artifacts) -> None:
    join(database, artifacts)
    artifacts.put("checkpoints/job_0/a", b"x")
    with database.transaction() as connection:
        connection.execute(update(deployment).values(paired=False))

    assert mismatch(database, artifacts) is None
    join(database, artifacts)

    assert id_of(database)[1]


@pytest.mark.parametrize("command", ["serve", "api", "worker"])
def test_an_empty_database_stops_the_start_and_deletes_nothing(tmp_path: Path, command: str) -> None:
    """Seven files that are two days old, which a start on a new SQLite file once deleted within seconds."""
    artifacts = Artifacts(tmp_path / "artifacts")
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
        _, said = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.terminate()
        _, said = process.communicate(timeout=40)

    assert len(list(artifacts.files())) == 7
    assert process.returncode == 2
    assert "has files, and the database names none of them" in said
    assert "run `bestepoch adopt`" in said


def bestepoch(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BESTEPOCH_HOME": str(home)}
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_way_out_is_a_command(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "artifacts")
    artifacts.put("checkpoints/job_0/a", b"x")
    migrate(f"sqlite:///{tmp_path / 'bestepoch.db'}")

    refused = bestepoch(tmp_path, "collect", "--dry-run")
    adopted = bestepoch(tmp_path, "adopt")
    listed = bestepoch(tmp_path, "collect", "--dry-run")
    collected = bestepoch(tmp_path, "collect")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("bestepoch: the artifacts folder ")
    assert adopted.stdout.strip().endswith("belongs to this database now, which references 0 of its 1 files")
    assert listed.stdout.splitlines() == [
        "checkpoints/job_0/a  would wait 24.0 hours more",
        "0 of 1 files would go",
    ]
    assert (collected.returncode, collected.stdout.splitlines()[-1]) == (0, "1 files wait for their time")
    assert artifacts.path("checkpoints/job_0/a").exists()
