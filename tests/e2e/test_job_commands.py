"""`bestepoch train`, `jobs`, `show`, `predict` and other job commands against a real service."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.cli.common import CommandError
from service.client.progress_bar import curve
from tests.e2e.conftest import Run, upload
from tests.processes import ENDLESS, submit, wait_for_end

PENGUINS = "examples/penguins.csv"
QUICK = ("--target", "species", "--max-epochs", "2", "--json")


def test_train_prints_its_result_and_saves_the_best_checkpoint(run: Run, tmp_path: Path) -> None:
    ended = run(
        *("train", PENGUINS, "--target", "species", "--no-batch-norm", "--patience", "5", "--hidden", "16,8"),
        *("--set", "optimizer.lr=0.01", "--set", "name=night", "--max-epochs", "20", "--out", str(tmp_path)),
    )

    assert ended.exit_code == 0, ended.output
    first, second, third = ended.stdout.splitlines()
    job = json.loads(run("jobs", "--json", "--limit", "1").stdout)[0]
    assert first == f"Training stopped after {job['progress']['epoch']} epochs."
    assert second == f"Best validation loss: {job['best']['metrics']['val_loss']:.4f}"
    assert third == f"Saved {tmp_path / job['id']}-best.safetensors"
    assert (tmp_path / f"{job['id']}-best.safetensors").stat().st_size == job["best"]["checkpoint"]["size_bytes"]
    spec = job["spec"]
    assert spec["architecture"]["hidden"] == [16, 8]
    assert spec["architecture"]["batch_norm"] is False
    assert (spec["early_stopping"]["patience"], spec["optimizer"]["lr"], spec["name"]) == (5, 0.01, "night")


def test_every_command_prints_json_for_scripts(run: Run, tmp_path: Path) -> None:
    arguments = ("train", PENGUINS, "--target", "species", "--max-epochs", "3", "--json", "--out", str(tmp_path))
    trained = json.loads(run(*arguments).stdout)
    job = trained["id"]

    assert trained["status"] == "succeeded"
    assert json.loads(run("show", job, "--json").stdout)["id"] == job
    assert json.loads(run("watch", job, "--json").stdout)["status"] == "succeeded"
    assert Path(json.loads(run("download", job, "--last", "--json", "--out", str(tmp_path)).stdout)["path"]).exists()
    assert run("download", job, "--format", "pt2", "--out", str(tmp_path)).stdout.strip().endswith(f"{job}-best.pt2")
    answers = json.loads(run("predict", job, PENGUINS, "--json").stdout)
    assert len(answers) == 344
    assert run("predict", job, PENGUINS).stdout.splitlines()[0].startswith("prediction,probability of Adelie")
    assert job in run("jobs").stdout
    assert str(run("resume", job).exception) == "the job has ended: it is succeeded"
    assert run("show", job).stdout.startswith(f"Job {job}: succeeded, epoch 3, best")


def test_a_command_that_calls_a_service_imports_no_server_libraries(service: httpx2.Client) -> None:
    heavy = {"sqlalchemy", "alembic", "fastapi", "starlette", "torch", "duckdb", "numpy", "structlog"}
    code = (
        "import sys\nfrom service.cli import main\n"
        f"try: main()\nfinally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )

    command = [sys.executable, "-c", code, "jobs", "--url", str(service.base_url), "--json"]
    result = subprocess.run(command, capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "[]\n")
    json.loads(result.stdout)


def test_a_cancelled_job_has_its_own_exit_code(run: Run, service: httpx2.Client) -> None:
    job = submit(service, ENDLESS)

    assert run("cancel", job).exit_code == 0
    assert run("watch", job).exit_code == 3


@pytest.fixture(scope="module")
def trained(service: httpx2.Client) -> str:
    spec = {"data": {"kind": "dataset", "id": upload(service, Path(PENGUINS))["id"], "target": "species"}}
    job = submit(service, {**spec, "max_epochs": 2})
    assert wait_for_end(service, f"/v1/jobs/{job}")["status"] == "succeeded"
    return job


@pytest.mark.parametrize("reader", ["true", "head -c 1"])
@pytest.mark.parametrize(
    ("command", "rows"), [("predict", 5), ("predict", 50_000), ("predict --json", 50_000), ("jobs", 0), ("show", 0)]
)
def test_a_closed_pipe_ends_a_command_quietly(
    trained: str, run: Run, tmp_path: Path, command: str, rows: int, reader: str
) -> None:
    head, *lines = Path(PENGUINS).read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join([head, *islice(cycle(lines), rows)]))
    name, *options = command.split()
    arguments = {"predict": [trained, str(tmp_path / "rows.csv")], "jobs": ["--limit", "1"], "show": [trained]}[name]
    piped = shlex.join([sys.executable, "-m", "service.cli", name, *arguments, *options])

    script = f"{piped} | {reader} > /dev/null; echo ${{PIPESTATUS[0]}}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)

    assert ended.stderr == ""
    # What fits into the pipe may have been written before the reader closed it.
    assert ended.stdout.strip() in ({"141"} if reader == "true" or rows > 5 else {"0", "141"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", PENGUINS, "--target", "colour"), "no column 'colour'; there are: 'species'"),
        (("show", "job_0"), "no job 'job_0'"),
        (("train", "nowhere.csv", "--target", "x"), "No such file"),
        (("jobs", "--url", "http://127.0.0.1:9"), "`bestepoch serve` starts one"),
        (("demo", "batch-norm", "--url", "http://127.0.0.1:9"), "`bestepoch serve` starts one"),
    ],
)
def test_expected_errors_are_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    error: Any = run(*arguments).exception

    assert isinstance(error, CommandError | OSError)
    assert message in str(error)


@pytest.mark.parametrize("wrong", [("--hidden", "wide"), ("--set", "nonsense"), ("--patience", "few")])
def test_an_invalid_option_is_rejected(run: Run, wrong: tuple[str, ...]) -> None:
    ended = run("train", PENGUINS, "--target", "species", *wrong)

    assert ended.exit_code == 2
    assert wrong[0] in ended.stderr


def test_the_loss_curve_is_scaled_between_minimum_and_maximum() -> None:
    assert curve([8.0, 4.0, 1.0]) == "█▄▁"
    assert curve([1.0, 1.0]) == "▁▁"
    assert curve([]) == ""
    assert len(curve([1.0] * 100)) == 40


def test_report_prints_markdown_or_json_and_saves_a_page(run: Run, tmp_path: Path) -> None:
    job = json.loads(run("train", PENGUINS, *QUICK, "--set", "split.test=0.25", "--out", str(tmp_path)).stdout)["id"]
    page = tmp_path / "report.html"

    printed = run("report", job)

    assert printed.exit_code == 0, printed.output
    assert printed.stdout.startswith("# Classification of species\n")
    assert json.loads(run("report", job, "--json").stdout)["evaluated"]["rows"] == 86
    assert run("report", job, "--html", str(page)).stdout == f"Saved {page}\n"
    assert page.read_text().startswith("<!doctype html>")
