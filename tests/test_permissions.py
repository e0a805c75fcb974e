"""File permissions: the modes of new files, and warnings about folders that other users can access."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.artifacts import FolderArtifacts
from service.cli import app
from service.cli.permissions import exposed
from service.settings import Settings
from service.store.engine import Database, migrate

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """A command in the tests' own process sets it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o7777)


@pytest.mark.parametrize(("group", "folder", "file"), [("false", "0o700", "0o600"), ("true", "0o770", "0o660")])
def test_new_files_are_private_to_the_user_or_group_whatever_the_umask(
    tmp_path: Path, group: str, folder: str, file: str
) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_GROUP_ACCESS": group}
    command = [sys.executable, "-m", "service.cli", "keys", "create"]

    subprocess.run(command, env=environment, umask=0, capture_output=True, check=True)

    assert (mode(home), mode(home / "bestepoch.db")) == (folder, file)


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o077, "0o700", "0o600"), (0o007, "0o770", "0o660")])
def test_the_umask_decides_the_modes_of_every_kind_of_file(tmp_path: Path, umask: int, folder: str, file: str) -> None:
    os.umask(umask)
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    migrate(f"sqlite:///{tmp_path}/database/x.db")
    database = Database(f"sqlite:///{tmp_path}/database/x.db")

    artifacts.put("checkpoints/job_1/best", b"weights")
    with artifacts.scratch() as scratch, database.reading():
        (scratch / "new").write_bytes(b"rows")
        artifacts.adopt(scratch / "new", "datasets/ds_1/table")
        folders = [scratch, *(path for path in tmp_path.rglob("*") if path.is_dir())]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name: mode(path) for path in folders if mode(path) != folder} == {}
        assert {path.name: mode(path) for path in files if mode(path) != file} == {}
        assert {"best", "table", "x.db", "x.db-wal", "x.db-shm"} <= {path.name for path in files}
    database.close()


def test_new_files_inherit_the_group_of_a_setgid_folder(tmp_path: Path) -> None:
    os.umask(0o007)
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)

    artifacts = FolderArtifacts(root / "artifacts")
    artifacts.put("checkpoints/job_1/best", b"weights")

    assert mode(root / "artifacts/checkpoints/job_1") == "0o2770"


def test_private_folders_give_no_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "artifacts").mkdir(mode=0o777)  # nobody gets there

    assert exposed(Settings(home=tmp_path)) == []


def test_exposed_paths_are_warned_of_with_the_chmod_that_fixes_them(tmp_path: Path) -> None:
    home, elsewhere, database = tmp_path / "home", tmp_path / "artifacts", tmp_path / "x.db"
    home.mkdir()
    elsewhere.mkdir()
    database.touch()
    for path, bits in ((home, 0o755), (elsewhere, 0o750), (database, 0o644)):
        path.chmod(bits)
    settings = {"home": home, "artifacts_url": str(elsewhere), "database_url": f"sqlite:///{database}"}

    alone, together = exposed(Settings(**settings)), exposed(Settings(**settings, group_access=True))

    assert [sentence.partition(": ")[2] for sentence in alone] == [
        *(f"chmod 700 {home}", f"chmod 700 {elsewhere}", f"chmod 600 {database}")
    ]
    assert [sentence.partition(": ")[2] for sentence in together] == [f"chmod 2770 {home}", f"chmod 660 {database}"]


def test_the_doctor_warns_of_exposed_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESTEPOCH_HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    runner = CliRunner()
    assert runner.invoke(app, ["migrate"]).exit_code == 0

    examined = runner.invoke(app, ["doctor"])

    assert f"warning: other users of this machine can access {tmp_path} (mode 755)" in examined.output
    assert examined.exit_code == 0
    assert mode(tmp_path) == "0o755"  # an operator's folder stays as it is


API, WORKER, GROUP = 64_001, 64_002, 64_003
AT_WORK = """
import os, sys
from service.artifacts import Artifacts, FolderArtifacts
from service.cli.startup import database_of, read_settings
from service.settings import Settings
from service.store import keys

def work(settings, name):
    with database_of(settings) as database, database.transaction() as connection:
        keys.any_exist(connection)
        connection.exec_driver_sql("CREATE TABLE " + name + " (x INTEGER)")
    artifacts = FolderArtifacts(settings.artifacts)
    artifacts.put("datasets/ds_1/" + name, b"x")
    for other in settings.artifacts.glob("datasets/*/*"):
        other.read_bytes()
    artifacts.delete("datasets/ds_1/first")

name, user, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
work(Settings(home="warm", database_url="", artifacts_url=""), name)  # imports what only root may read here
os.setgroups([])
os.setgid(group)
os.setuid(user)
os.umask(0o022)
work(read_settings(), name)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of a group, whose new files are that group's."""
    if os.geteuid():
        pytest.skip("needs root, to become two other users")
    folder = Path(tempfile.mkdtemp(prefix="bestepoch-test-"))  # pytest's own folders are its user's alone
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2770)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("group", "works"), [("true", True), ("false", False)])
def test_two_users_of_a_group_share_a_service_with_group_access(
    shared: Path, tmp_path: Path, group: str, works: bool
) -> None:
    settings = {"BESTEPOCH_HOME": str(shared / "home"), "BESTEPOCH_GROUP_ACCESS": group}
    codes = []
    for name, user in (("first", API), ("second", WORKER)):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", AT_WORK, name, str(user), str(GROUP)]
        environment = {**os.environ, **settings}
        codes.append(subprocess.run(command, env=environment, cwd=tmp_path / name, capture_output=True).returncode)

    assert codes == [0, 0 if works else 1]
