"""A backup as the documentation describes it, made while a job trains."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2

from examples.local_service import running_service
from service.artifacts import FolderArtifacts
from service.maintenance.doctor import Doctor
from service.store.engine import Database, sqlite_module
from tests.documents import DOCS, blocks
from tests.processes import get, submit, until

ALWAYS_BETTER: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 3_000, "signal": 1.0},
    "architecture": {"hidden": [64, 64]},
    "optimizer": {"lr": 1e-6},
    "max_epochs": 1_000_000,
    "early_stopping": None,
}


def documented(which: int) -> list[str]:
    """The commands of a block of the how-to guide."""
    return [block for block in blocks(DOCS / "how-to/back-up.md") if "~/.bestepoch" in block.text][
        which
    ].text.splitlines()


def run(line: str, home: Path, folder: Path) -> None:
    """As a reader whose home this is would, in this folder."""
    if line.startswith("sqlite3 ") and not shutil.which("sqlite3"):  # do what the program does
        paths = home / ".bestepoch/bestepoch.db", folder / line.split()[-1][:-1]
        source, target = (sqlite_module.connect(str(path)) for path in paths)
        source.backup(target)
        source.close()
        target.close()
        return
    subprocess.run(["bash", "-c", line], env={**os.environ, "HOME": str(home)}, cwd=folder, check=True)


def published(client: httpx2.Client, job_id: str) -> int:
    """The epoch of the best checkpoint; 0 when there is none yet."""
    best = get(client, job_id)["best"]
    return int(best["checkpoint"]["epoch"]) if best and best["checkpoint"] else 0


def test_every_row_of_a_backup_of_a_training_service_finds_its_file(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    of_database, of_artifacts = documented(0)
    *restoring, examining = documented(1)
    assert examining == "bestepoch doctor"
    with running_service(old / ".bestepoch", BESTEPOCH_TRAINERS="1", BESTEPOCH_SAVE_SECONDS="0") as client:
        job_id = submit(client, ALWAYS_BETTER)
        until(lambda: published(client, job_id))

        run(of_database, old, tmp_path)
        copied = published(client, job_id)
        until(lambda: published(client, job_id) > copied, 60)
        run(of_artifacts, old, tmp_path)
    new.mkdir()
    for line in restoring:
        run(line, new, tmp_path)

    database = Database(f"sqlite:///{new / '.bestepoch/bestepoch.db'}")
    doctor = Doctor(database, FolderArtifacts(new / ".bestepoch/artifacts"))
    wrong = [str(each) for each in doctor.examine()]
    database.close()
    assert wrong == []
    assert doctor.findings.files >= 2  # a best checkpoint and a state
