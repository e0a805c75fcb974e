"""A service that is started carelessly: in a folder full of strangers' modules, where new files are everybody's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from examples.local_service import wait_until_warm
from service.settings import free_port
from tests.processes import submit, wait_for_end

# What API, supervisor, trainers, helpers and readers import, among them what starts Python's own helper processes.
STRANGERS = (
    "duckdb",
    "numpy",
    "torch",
    "multiprocessing",
    "runpy",
    "json",
    "sqlalchemy",
    "service",
    "bestepoch",
    "sitecustomize",
)
TABLE = "size,kind\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(40))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that leave a mark when they are imported; `came` lists those."""
    folder = tmp_path_factory.mktemp("strangers")
    for name in STRANGERS:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'came')!r}, 'a').write(__name__ + '\\n')\n")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, strangers: Path) -> Iterator[Path]:
    """The folder of a service that has read a table, trained and predicted; it still runs."""
    home, port = tmp_path_factory.mktemp("service") / "home", free_port("127.0.0.1")
    artifacts = home.parent / "artifacts"
    artifacts.mkdir()
    artifacts.chmod(0o755)
    folders = {"BESTEPOCH_HOME": str(home), "BESTEPOCH_ARTIFACTS_URL": str(artifacts)}
    environment = {**os.environ, **folders, "BESTEPOCH_TRAINERS": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    command = [str(Path(sys.executable).parent / "bestepoch"), "serve", "--port", str(port)]
    with (home.parent / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=strangers, env=environment, umask=0, stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=70.0) as client:
            wait_until_warm(client, process)
            dataset = client.post("/v1/datasets", content=TABLE).json()
            client.get(f"/v1/datasets/{dataset['id']}/preview")
            data = {"kind": "dataset", "id": dataset["id"], "target": "kind"}
            job = wait_for_end(client, "/v1/jobs/" + submit(client, {"data": data, "max_epochs": 2}))
            answer = client.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [{"size": 1}]})
            assert (job["status"], answer.status_code) == ("succeeded", 200), (job, answer.text)
            yield home
    finally:
        process.terminate()
        process.wait(40)


def test_no_process_of_a_service_imports_from_the_folder_that_it_was_started_in(home: Path, strangers: Path) -> None:
    assert home.exists()
    assert not (strangers / "came").exists(), (strangers / "came").read_text().split()


def test_what_a_service_writes_is_its_users_alone(home: Path) -> None:
    written = [home, *home.rglob("*"), *(home.parent / "artifacts").rglob("*")]

    modes = {str(path): oct(path.stat().st_mode) for path in written if path.exists()}
    assert {name: mode for name, mode in modes.items() if not mode.endswith("00")} == {}
    assert {"home", "bestepoch.db", "logs", "datasets", "checkpoints", "tmp"} <= {Path(name).name for name in modes}
    assert {".parquet", ".safetensors", ".log"} <= {Path(name).suffix for name in modes}


def test_a_service_names_a_folder_that_others_may_use_once_and_leaves_it_so(home: Path) -> None:
    artifacts = home.parent / "artifacts"

    assert (home.parent / "log").read_text().count(f"other users of this machine can access {artifacts}") == 1
    assert artifacts.stat().st_mode & 0o777 == 0o755
