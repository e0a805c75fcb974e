"""A replayed search is the search that trains; what a search has pruned is revived until the replay is exact."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from bestepoch import Client, Sweep
from service.client import ApiError
from tests.e2e.conftest import Run

BASE = {"data": {"kind": "synthetic", "rows": 400, "signal": 1.0}, "max_epochs": 16, "early_stopping": {"patience": 6}}
GRID = {"optimizer.lr": [0.0003, 0.003, 0.03], "seed": [1, 2], "architecture.hidden": [[8], [16]]}


def submitted(service: httpx2.Client, client: Client, **fields: Any) -> Sweep:
    """A sweep of the grid that has ended."""
    response = service.post("/v1/sweeps", json={"base": BASE, "grid": GRID, **fields})
    assert response.status_code == 201, response.text
    return client.sweep_of(response.json()["id"]).wait(120)


def test_the_replay_of_a_grid_is_the_search_that_trains_and_pruned_jobs_are_revived(
    service: httpx2.Client, client: Client, run: Run
) -> None:
    search = {"kind": "halving", "eta": 3, "min_epochs": 2}
    grid = {"optimizer.lr": [0.0003, 0.001, 0.003, 0.03], "architecture.hidden": [[8], [16], [32]]}
    every = submitted(service, client, grid=grid)
    searched = submitted(service, client, grid=grid, search=search)

    (replayed,) = every.replay(search).data
    (itself,) = searched.replay(search).data

    assert replayed.exact
    assert itself.exact
    assert searched.state.best is not None
    assert itself.winner is not None
    assert replayed.winner == itself.winner
    assert itself.winner.value == searched.state.best.value
    assert itself.epochs == replayed.epochs == sum(row.epochs for row in searched.results())
    assert 0 < replayed.saved < 1

    other = run("replay", searched.id, "--halving", "2", "--min-epochs", "2", "--patience", "3", "--revive", "--json")
    found = json.loads(other.stdout)
    assert not found["data"][0]["exact"]
    while not found["data"][0]["exact"]:
        searched.refresh().wait(120)
        found = json.loads(
            run("replay", searched.id, "--halving", "2", "--min-epochs", "2", "--revive", "--json").stdout
        )
    expected = every.replay({"kind": "halving", "eta": 2, "min_epochs": 2}).data[0]
    assert found["data"][0]["winner"] == expected.model_dump(mode="json")["winner"]
    assert found["data"][0]["epochs"] == expected.epochs


def test_the_commands_print_tables_and_reasons(service: httpx2.Client, client: Client, run: Run) -> None:
    sweep = submitted(service, client)

    replayed = run("replay", sweep.id, "--halving", "2", "--rule", '{"rule": "gl", "alpha": 2.0}')
    advice = run("advice", "--sweep", sweep.id)

    assert (replayed.exit_code, advice.exit_code) == (0, 0), replayed.output + advice.output
    header, _, halving, gl, *reasons = filter(str.strip, replayed.stdout.splitlines())
    assert header.split() == ["rule", "epochs", "saved", "best", "trial", "val_loss", "regret", "exact"]
    assert (halving.split()[:2], gl.split()[:2]) == (["halving", "eta=2"], ["gl", "alpha=2.0"])
    assert reasons[0].startswith("6 trials to epoch 1, 3 to epoch 2, 1 to epoch 16: ")
    assert advice.stdout.startswith("Too few histories: 6 independent ones")
    assert "with a patience of 6 in the median" in advice.stdout or "Early stopping" not in advice.stdout


@pytest.mark.parametrize("arguments", [[], ["--rule", "{"]])
def test_wrong_rules_are_refused_in_words(run: Run, arguments: list[str]) -> None:
    assert "rule" in str(run("replay", "swp_0", *arguments).exception)


def test_a_sweep_that_is_not_there_is_an_error(client: Client, run: Run) -> None:
    assert "no sweep" in str(run("replay", "swp_0", "--patience", "2").exception)
    with pytest.raises(ApiError):
        client.sweep_of("swp_0")
