"""`bestepoch search` against a real service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bestepoch import Client
from tests.e2e.conftest import Run

PENGUINS = Path("examples/penguins.csv").resolve()
SPACE = '[space]\n"optimizer.lr" = { log = [1e-4, 0.1] }\n"architecture.hidden" = { choice = [[8], [16, 8]] }\n'
HALVING = '[search]\nkind = "halving"\ntrials = 9\neta = 3\nmin_epochs = 1\n'
TABLE = f'file = "{PENGUINS}"\ntarget = "species"\nmodel = "searched"\n[base]\nmax_epochs = 9\n'
SYNTHETIC = "[base]\nmax_epochs = 2\n[base.data]\nkind = 'synthetic'\nrows = 100\n"


def test_a_search_prints_its_plan_its_steps_and_the_winner(run: Run, client: Client, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(TABLE + SPACE + HALVING)

    ended = run("search", str(tmp_path / "space.toml"), "--out", str(tmp_path))

    assert ended.exit_code == 0, ended.output
    sweep = next(client.sweeps())
    lines = ended.stdout.splitlines()
    assert re.fullmatch(r"Plan: 9 trials, 9 jobs in 2 arrays, at most 21 epochs, .* on 1 trainer", lines[0])
    rungs = [line.split() for line in lines[1:6]]
    assert rungs[0] == ["bracket", "rung", "trials", "epochs"]
    assert rungs[2:] == [["1", "1", "9", "1"], ["1", "2", "3", "3"], ["1", "3", "1", "9"]]
    steps = ended.stderr.splitlines()
    assert steps[0].startswith(f"Search {sweep.id}: http://")
    assert steps[1] == "Trials 1 to 9: drawn at random with seed 0"
    assert steps[2].startswith("Rung 1 ended: 3 of 9 promoted, 6 pruned; best val_loss ")
    assert steps[3].startswith("Rung 2 ended: 1 of 3 promoted, 2 pruned; best val_loss ")
    assert steps[-1].startswith("Version 1 of 'searched' was published")
    best = sweep.state.best
    assert best is not None
    assert lines[-3:] == [
        f"Best job: {best.job}, val_loss {best.value:.4g} at epoch {best.epoch}",
        "Published version 1 of searched",
        f"Saved {tmp_path / best.job}-best.safetensors",
    ]


def test_a_dry_run_prints_the_plan_and_creates_no_sweep(run: Run, client: Client, tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(SYNTHETIC + SPACE + HALVING)
    before = len(list(client.sweeps()))

    ended = run("search", str(tmp_path / "space.toml"), "--dry-run", "--json")

    assert ended.exit_code == 0, ended.output
    assert (json.loads(ended.stdout)["points"], len(list(client.sweeps()))) == (9, before)


def test_json_has_the_plan_the_summary_and_the_decisions(run: Run, tmp_path: Path) -> None:
    search = '[search]\nkind = "tpe"\ntrials = 4\nbatch = 2\nstartup_trials = 2\n'
    (tmp_path / "space.toml").write_text(SYNTHETIC + SPACE + search)

    ended = run("search", str(tmp_path / "space.toml"), "--json")

    found: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert (found["plan"]["points"], len(found["summary"]), found["sweep"]["status"]) == (4, 4, "finished")
    assert [each["kind"] for each in found["decisions"]] == ["proposed"] * 4 + ["stopped"]


def test_a_file_without_a_search_and_an_invalid_space_are_refused_before_anything_is_queued(
    run: Run, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "space.toml"
    before = len(list(client.sweeps()))

    path.write_text(SYNTHETIC + '[grid]\n"optimizer.lr" = [0.1]\n')
    refused = run("search", str(path))
    path.write_text(SYNTHETIC + SPACE.replace("1e-4", "0") + HALVING)
    invalid = run("search", str(path))

    assert "needs `search`" in str(refused.exception)
    assert "above 0" in str(invalid.exception)
    assert len(list(client.sweeps())) == before


def test_importance_is_ranked_by_the_client(client: Client) -> None:
    base = {"data": {"kind": "synthetic", "rows": 100, "signal": 2}, "max_epochs": 3}
    space = {"optimizer.lr": {"log": [1e-6, 0.1]}, "architecture.dropout": {"uniform": [0, 0.01]}}
    sweep = client.sweep(base, space=space, search={"kind": "random", "trials": 16}).wait()

    found = sweep.importance()

    assert (found.points, found.monitor) == (16, "val_loss")
    assert [(each.name, each.scale) for each in found.parameters] == [
        ("optimizer.lr", "log"),
        ("architecture.dropout", "linear"),
    ]
