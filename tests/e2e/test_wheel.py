"""The wheel in a clean environment: `pip install bestepoch` brings the client and the command, and they work alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import ROOT, project

PENGUINS = ROOT / "examples/penguins.csv"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

SCRIPT = """
import json, sys
from bestepoch import ApiError, Client

url, table, folder = sys.argv[1:]
with Client(url) as client:
    job = client.train(client.upload(table), target="species", max_epochs=3).wait(60, each=print)
    saved = job.download(folder)
    (answer,) = job.predict([{"bill_length_mm": 39.1, "island": "Torgersen"}])
    try:
        client.job("job_0")
    except ApiError as error:
        code = error.code
print(json.dumps({"status": job.state.status, "saved": saved.name, "answer": answer, "code": code}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a virtual environment that has the wheel with its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("bestepoch-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv/bin/python"
    run(*PIP, "--python", str(python), "install", "-c", str(ROOT / "constraints.txt"), str(wheel))
    return python.parent


def run(*command: str, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it away from the checkout's own packages."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BESTEPOCH"))}
    result = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_only_the_light_dependencies_are_installed(environment: Path, tmp_path: Path) -> None:
    code = "from importlib.metadata import distributions; print(*(d.metadata['Name'] for d in distributions()))"

    installed = {canonicalize_name(name) for name in run(str(environment / "python"), "-c", code).stdout.split()}

    assert names(project()["dependencies"]) | {"bestepoch"} <= installed
    optional = {name for texts in project()["optional-dependencies"].values() for name in names(texts)}
    assert installed & optional == {"bestepoch"}


def test_the_package_is_typed_and_knows_its_version(environment: Path, tmp_path: Path) -> None:
    code = "import bestepoch, service; print(bestepoch.__version__, bestepoch.__path__[0], service.__path__[0])"

    version, *packages = run(str(environment / "python"), "-c", code, cwd=tmp_path).stdout.split()

    assert version == project()["version"]
    assert all((Path(package) / "py.typed").exists() for package in packages)
    assert all(environment.parent in Path(package).parents for package in packages)


def test_the_command_works_and_says_what_the_server_needs(environment: Path, tmp_path: Path) -> None:
    command, python = str(environment / "bestepoch"), str(environment / "python")

    assert run(command, "version", cwd=tmp_path).stdout == f"{project()['version']}\n"
    assert run(python, "-m", "bestepoch", "version", cwd=tmp_path).stdout == f"{project()['version']}\n"
    assert "predict" in run(command, "--help", cwd=tmp_path).stdout
    raised = run(command, "serve", cwd=tmp_path, code=2)
    assert re.fullmatch(r"bestepoch: .*: pip install 'bestepoch\[server\]' .*\n", raised.stderr)


def test_the_client_uploads_trains_predicts_and_downloads(
    environment: Path, service: httpx2.Client, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = ["script.py", str(service.base_url), str(PENGUINS), "."]

    output = json.loads(run(str(environment / "python"), *arguments, cwd=tmp_path).stdout.splitlines()[-1])

    assert (output["status"], output["code"]) == ("succeeded", "not_found")
    assert output["answer"]["prediction"] in output["answer"]["probabilities"]
    assert (tmp_path / output["saved"]).stat().st_size > 1_000


def test_the_command_line_trains_and_predicts(environment: Path, service: httpx2.Client, tmp_path: Path) -> None:
    command, url = str(environment / "bestepoch"), ["--url", str(service.base_url)]

    options = ["--target", "species", "--max-epochs", "2", "--json", *url]
    job = json.loads(run(command, "train", str(PENGUINS), *options, cwd=tmp_path).stdout)

    assert (tmp_path / f"{job['id']}-best.safetensors").exists()
    answers = run(command, "predict", job["id"], str(PENGUINS), *url, cwd=tmp_path).stdout.splitlines()
    assert len(answers) == 345
    table = "from service.cli.demo import table_file; print(table_file().read_text(), end='')"
    assert run(str(environment / "python"), "-c", table, cwd=tmp_path).stdout == PENGUINS.read_text()
