"""A client that a public generator makes of /openapi.json: whole, and at work on a real service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import running_service

GENERATOR = Path(sys.prefix) / "generator/bin"
HERE = Path(__file__).parent
PENGUINS = "examples/penguins.csv"
KEY = "bep_for-the-generated-client"
# Bodies that the generator does not know, beside the JSON that it takes: files of rows are taken, too.
PASSED_OVER = [
    (f"POST {path} within predictions.", f"Unsupported content type {kind}")
    for path in (
        "/v1/jobs/{job_id}/predict",
        *(f"/v1/models/{{model}}/{what}" for what in ("predict", "drift", "evaluate")),
    )
    for kind in ("text/csv", "application/vnd.apache.parquet")
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    if not GENERATOR.exists():
        pytest.skip("needs the generator, which `make generated` installs")
    home = tmp_path_factory.mktemp("service")
    with running_service(home, BESTEPOCH_TRAINERS="1", BESTEPOCH_API_KEY=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def folder(service: httpx2.Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package `bestepoch_client` is, as it comes."""
    found = tmp_path_factory.mktemp("generated")
    (found / "openapi.json").write_bytes(service.get("/openapi.json").content)
    arguments = ["--path", "openapi.json", "--meta", "none", "--output-path", "bestepoch_client"]
    environment = {**os.environ, "PATH": f"{GENERATOR}{os.pathsep}{os.environ['PATH']}"}  # it calls ruff

    result = subprocess.run(
        ["openapi-python-client", "generate", *arguments],
        cwd=found,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    (found / "said.txt").write_text(result.stdout + result.stderr)
    return found


def test_nothing_is_passed_over_but_the_bodies_that_are_files(folder: Path) -> None:
    said = (folder / "said.txt").read_text()

    warned = re.findall(r"^WARNING parsing (.*)\n+(.*)", said, re.MULTILINE)

    assert warned == PASSED_OVER
    assert "Unable to" not in said
    assert "will not be generated" not in said


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The generator's own Python, which has what the client needs."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [str(GENERATOR / "python"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_operation_is_a_function_of_the_client(folder: Path) -> None:
    paths = json.loads((folder / "openapi.json").read_text())["paths"]
    code = (
        "import pkgutil, bestepoch_client.api as api\n"
        "for found in pkgutil.walk_packages(api.__path__, 'bestepoch_client.api.'):\n"
        "    if not found.ispkg: print(__import__(found.name, fromlist=['sync']).sync_detailed.__module__)"
    )

    result = run(folder, "-c", code)

    assert result.stderr == ""
    assert {name.rsplit(".", 1)[-1] for name in result.stdout.split()} == {
        operation["operationId"] for methods in paths.values() for operation in methods.values()
    }


def test_the_generated_client_uploads_trains_polls_and_downloads(
    folder: Path, service: httpx2.Client, tmp_path: Path
) -> None:
    arguments = [str(service.base_url), KEY, PENGUINS, str(tmp_path / "best.safetensors")]

    result = run(folder, str(HERE / "three_calls.py"), *arguments)

    assert (result.returncode, result.stderr) == (0, "")
    seen = json.loads(result.stdout)
    job = service.get(f"/v1/jobs/{seen['job']['id']}").json()
    assert without_times(seen["job"]) == without_times(job)
    assert (job["status"], job["spec"]["architecture"]["hidden"]) == ("succeeded", [16])
    assert job["spec"]["early_stopping"]["patience"] == 5
    weights = service.get(f"/v1/jobs/{job['id']}/checkpoints/best/download")
    assert (tmp_path / "best.safetensors").read_bytes() == weights.content
    assert seen["epochs"] == service.get(f"/v1/jobs/{job['id']}/history").json()["data"]
    assert seen["prediction"] == "Adelie"
    assert seen["table"].startswith("species,island,")
    assert (seen["refused"]["code"], seen["refused"]["errors"][0]["pointer"]) == ("invalid_spec", "/batch_size")


def without_times(job: dict[str, Any]) -> dict[str, Any]:
    """The generated client writes Z as +00:00."""
    return {name: value for name, value in job.items() if not name.endswith("_at")}


def test_the_types_of_the_generated_client_fit_its_use(folder: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(GENERATOR / "python")]
    options = ["--config-file", os.devnull, "--cache-dir", os.devnull, "--follow-imports", "silent"]

    result = subprocess.run(
        [*command, *options, str(HERE / "three_calls.py")],
        env={**os.environ, "MYPYPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
