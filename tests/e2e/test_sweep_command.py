"""`bestepoch sweep` and `bestepoch demo` against a real service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bestepoch import Client
from service.cli import demo
from service.cli.common import CommandError
from tests.documents import DOCS, blocks
from tests.e2e.conftest import Run
from tests.processes import ENDLESS, linux_only, until

PENGUINS = Path("examples/penguins.csv").resolve()
COMMAND = [sys.executable, "-m", "service.cli", "sweep"]
SMALL: dict[str, Any] = {"data": {"kind": "synthetic"}, "architecture": {"hidden": [8]}, "max_epochs": 3}
# With this learning rate the loss grows until it overflows.
EXPLODING = {"optimizer": {"kind": "sgd", "lr": 10.0}, "early_stopping": {"on_non_finite": "fail", "patience": 1000}}


def written(folder: Path, **content: Any) -> str:
    path = folder / "grid.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_the_documented_sweep_file_prints_a_leaderboard(run: Run, client: Client, tmp_path: Path) -> None:
    (text,) = (block.text for block in blocks(DOCS / "reference/sweeps.md") if block.kind == "toml")
    (tmp_path / "examples").symlink_to(PENGUINS.parent)  # a relative path is relative to the file
    (tmp_path / "grid.toml").write_text(text)

    ended = run("sweep", str(tmp_path / "grid.toml"), "--out", str(tmp_path))

    assert ended.exit_code == 0, ended.output
    sweep = next(client.sweeps())
    url = str(client._transport.http.base_url).rstrip("/")
    assert ended.stderr == f"Sweep {sweep.id} of 12 jobs: {url}/#/sweep/{sweep.id}\n"
    header, _, *rows = filter(str.strip, ended.stdout.splitlines())
    assert header.split() == ["lr", "batch_norm", "val_loss", "best", "epoch", "val_accuracy", "versus", "best"]
    for number, (row, point) in enumerate(zip(rows, sweep.summary(), strict=False), start=1):
        assert point.value is not None
        changes = [str(number), *(json.dumps(value) for value in point.point.values())]
        assert row.split()[:6] == [*changes, f"{point.value.mean:.4f}", "±", f"{point.value.standard_error:.4f}"]
        assert point.versus_best is not None
        assert point.versus_best.verdict.split("_")[-1].replace("distinguishable", "clear difference") in row
    best = sweep.state.best
    assert best is not None
    assert rows[4:] == [
        "mean ± standard error over 3 seeds",
        f"Best job: {best.job}, val_loss {best.value:.4g} at epoch {best.epoch}",
        f"Saved {tmp_path / best.job}-best.safetensors",
    ]
    assert (tmp_path / f"{best.job}-best.safetensors").read_bytes() == sweep.best().checkpoint()


def test_json_output_is_the_services_json(run: Run, client: Client, tmp_path: Path) -> None:
    file = written(tmp_path, base=SMALL, points=[{}, {"seed": 5}], folds=2, name="night")

    ended = run("sweep", file, "--json", "--out", str(tmp_path / "best"))

    assert (ended.exit_code, ended.stderr) == (0, "")
    output = json.loads(ended.stdout)
    sweep = client.sweep_of(output["sweep"]["id"])
    assert output["sweep"] == sweep.state.model_dump(mode="json")
    assert output["summary"] == [point.model_dump(mode="json") for point in sweep.summary()]
    assert (tmp_path / "best").read_bytes() == sweep.best().checkpoint()


def test_many_configurations_and_long_values_are_truncated(run: Run, tmp_path: Path) -> None:
    points = [{"labels": {"some": "long " * 20}, "seed": seed} for seed in range(3)]
    points += [{"architecture.hidden": [width]} for width in range(1, 22)]

    lines = run("sweep", written(tmp_path, base={**SMALL, "max_epochs": 1}, points=points)).stdout.splitlines()

    assert [line.split()[0] for line in lines if line[:1].isdecimal()] == [str(n) for n in range(1, 21)]
    assert "and 2 more configurations" in lines
    assert "mean ± standard error over 3 seeds" in lines
    assert not any("long " * 10 in line for line in lines)


def test_a_failed_job_is_reported_with_an_exit_code(run: Run, tmp_path: Path) -> None:
    base = {**SMALL, "task": "regression", "architecture": {"hidden": []}, "batch_size": "full", "max_epochs": 500}

    ended = run("sweep", written(tmp_path, base=base, points=[{}, EXPLODING]))

    assert ended.exit_code == 1, ended.output
    assert "1 of 2 jobs failed; job_" in ended.stderr
    assert "Best job: job_" in ended.stdout


def test_a_cancelled_sweep_has_its_own_exit_code(client: Client, tmp_path: Path) -> None:
    newest = next(client.sweeps(), None)
    url = str(client._transport.http.base_url)
    command = [*COMMAND, written(tmp_path, base=ENDLESS, replicates=2), "--url", url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sweep = until(lambda: next((each for each in client.sweeps() if not newest or each.id > newest.id), None))
        sweep.cancel()
        output = json.loads(process.communicate(timeout=60)[0])

    assert (process.returncode, output["sweep"]["status"]) == (3, "cancelled")


@linux_only
def test_a_terminal_shows_a_progress_bar(client: Client, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    shown = bytearray()
    url = str(client._transport.http.base_url)
    command = [*COMMAND, written(tmp_path, base=SMALL, replicates=4), "--url", url]

    def read() -> None:
        try:
            while piece := os.read(ours, 4096):
                shown.extend(piece)
        except OSError:  # its other end is closed
            pass

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as it:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
    reader.join()
    os.close(ours)

    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert it.returncode == 0
    assert "0/4" in text
    assert "4/4" in text
    assert "best val_loss" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"base": SMALL, "grid": {"optimizer.lr": [0.1, -1]}}, "/grid/optimizer.lr/1 should be greater than 0"),
        ({"base": SMALL, "grid": {"optimizer.rate": [0.1]}}, "/grid/optimizer.rate: unknown field"),
        ({"file": str(PENGUINS), "target": "colour"}, "/base/data/target no column 'colour'"),
        ({"file": "nowhere.csv", "target": "colour"}, "No such file"),
        ({"base": SMALL, "replicate": 3}, "grid.json: unknown field 'replicate'; did you mean 'replicates'?"),
    ],
)
def test_an_invalid_sweep_file_is_rejected_in_one_line(
    run: Run, tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    error = run("sweep", written(tmp_path, **content)).exception

    assert isinstance(error, CommandError | OSError)
    assert message in str(error)
    assert "\n" not in str(error)


def test_the_demo_prints_what_it_measured(run: Run, client: Client) -> None:
    ended = run("demo", "batch-norm")

    assert ended.exit_code == 0, ended.output
    sweep = next(client.sweeps())
    networks = demo.compare(client, sweep)
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines() if line.strip()]
    spreads = {json.dumps(point.point, sort_keys=True): point.value for point in sweep.summary()}
    for line, network, point in zip(lines[3:7], networks, demo.POINTS, strict=True):
        spread = spreads[json.dumps({**point, "split.folds": 5}, sort_keys=True)]
        assert spread is not None
        assert f"{spread.mean:.4f} ± {spread.std:.4f} {network.best_epoch:.0f} {network.epochs:.0f}" in line
        assert line.endswith(f"{network.last_val_loss:.4f}")
    assert lines[-3:] == [
        demo.batch_norm_effect(networks),
        demo.early_stopping_effect(networks),
        f"All curves: {str(client._transport.http.base_url).rstrip('/')}/#/sweep/{sweep.id}",
    ]
    with_both, with_norm, with_stopping, with_none = networks
    assert with_both.best_epoch < with_stopping.best_epoch  # batch norm reaches its best epoch sooner
    assert with_both.epochs < with_norm.epochs == with_none.epochs == 200
    assert with_norm.last_val_loss > 1.2 * with_norm.best_val_loss  # and overfits afterwards


def test_the_demo_prints_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "BASE", {**demo.BASE, "max_epochs": 3})
    monkeypatch.setattr(demo, "FOLDS", 2)

    output = json.loads(run("demo", "batch-norm", "--json").stdout)

    assert output["sweep"]["counts"]["succeeded"] == 24
    assert len(output["summary"]) == 4
    assert [(each["batch_norm"], each["early_stopping"], each["epochs"]) for each in output["networks"]] == [
        *((True, True, 3.0), (True, False, 3.0), (False, True, 3.0), (False, False, 3.0))
    ]
