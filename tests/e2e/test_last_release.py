"""A worker of the release before, which runs while the database is migrated, trains what this version's API takes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import FolderArtifacts
from service.settings import Settings
from service.store import migrations
from service.store.engine import Database, migrate
from tests.api.conftest import CoinPredictor
from tests.processes import until
from tests.store.records import submit_limited

ROOT = Path(__file__).parents[2]
LAST_RELEASE, ITS_REVISION = "07f73eb", "0014"  # whose workers have to go on when this version migrates the database


@pytest.fixture(scope="module")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last release's code, from this repository's history."""
    asked = ["git", "archive", LAST_RELEASE, "service", "migrations"]
    archive = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"no git history that has {LAST_RELEASE}: {archive.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@contextmanager
def worker(code: Path, home: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"HOME": str(home), "DATABASE_URL": url, "TRAINERS": "1"}
    environment = {**os.environ, "PYTHONPATH": str(code), **{f"BESTEPOCH_{k}": v for k, v in settings.items()}}
    start = [sys.executable, "-m", "service.cli", "worker", "--until-eof"]
    process = subprocess.Popen(start, cwd=code, env=environment, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.communicate(timeout=30)  # its input ends


def trainer_is_ready(database: Database) -> bool:
    with database.reading() as connection:
        return connection.scalar(text("SELECT count(*) FROM workers WHERE device = 'cpu'")) == 1


def test_a_worker_of_the_last_release_trains_what_this_version_has_queued(
    last_release: Path, blank_database_url: str, tmp_path: Path
) -> None:
    database = Database(blank_database_url)
    with database.transaction() as connection:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, ITS_REVISION)
    settings, artifacts = Settings(home=tmp_path), FolderArtifacts(tmp_path / "artifacts")
    spec = {"data": {"kind": "synthetic", "rows": 200}, "max_epochs": 3}

    with worker(last_release, tmp_path, blank_database_url) as old:
        until(lambda: trainer_is_ready(database), 60)
        migrate(blank_database_url)
        with TestClient(create_app(settings, database, artifacts, CoinPredictor()), base_url="http://localhost") as api:
            alone = api.post("/v1/jobs", json=spec).json()["id"]
            sweep = api.post("/v1/sweeps", json={"base": spec, "replicates": 2}).json()["id"]
            limited = submit_limited(database, 2).id
            ended = api.get(f"/v1/jobs/{alone}", params={"wait": 30}).json()
            swept = api.get(f"/v1/sweeps/{sweep}", params={"wait": 30}).json()
            history = api.get(f"/v1/jobs/{alone}/history").json()["data"]
            left = api.get(f"/v1/jobs/{limited}").json()
            weights = api.get(ended["best"]["checkpoint"]["download_url"])

    database.close()
    assert not (last_release / "service/spec/graph.py").exists()  # it is other code than this version's
    assert old.returncode == 0
    assert (ended["status"], ended["attempt"], ended["failures"]) == ("succeeded", 1, 0)
    assert swept["counts"]["succeeded"] == 2
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert weights.status_code == 200
    assert (left["status"], left["attempt"]) == ("queued", 0)  # it knows no epoch limits
