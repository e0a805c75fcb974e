"""Results of a sweep: leaderboard as JSON, CSV and Parquet; configurations over seeds and folds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import duckdb
import pytest
from starlette.testclient import TestClient

from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.sweep_requests import submit
from tests.store.sweep_records import train


@both_databases
def test_the_leaderboard_is_paginated_best_first(client: TestClient, database: Database) -> None:
    sweep = submit(client, replicates=5).json()
    losses = [0.5, 0.1, 0.4, 0.2, 0.3]
    for loss in losses:
        train(database, val_loss=loss)

    seen: list[Any] = []
    page: dict[str, Any] = {"next": "0"}
    while page["next"] is not None:
        page = client.get(f"/v1/sweeps/{sweep['id']}/results", params={"limit": 2, "after": page["next"]}).json()
        seen += page["data"]

    assert [row["value"] for row in seen] == sorted(losses)
    assert client.get(f"/v1/sweeps/{sweep['id']}").json()["best"]["job"] == seen[0]["job"]
    submitted = client.get(f"/v1/sweeps/{sweep['id']}/results?order=submitted").json()["data"]
    assert [row["value"] for row in submitted] == losses
    assert [row["point"] for row in submitted] == [{"seed": seed} for seed in range(5)]


def test_a_leaderboard_as_csv_has_a_column_per_change_and_metric(client: TestClient, database: Database) -> None:
    points = [{"optimizer.lr": 0.1}, {"architecture.hidden": [8], "max_seconds": None, "optimizer.kind": "sgd"}]
    sweep = submit(client, points=points).json()
    trained = [train(database, val_loss=0.5, val_accuracy=0.75), train(database, val_loss=0.25, val_roc_auc=None)]

    response = client.get(f"/v1/sweeps/{sweep['id']}/results", headers={"Accept": "text/csv"})

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{sweep["id"]}.csv"'
    rows = list(csv.reader(response.text.splitlines()))
    changes = ["architecture.hidden", "max_seconds", "optimizer.kind", "optimizer.lr"]
    measured = ["val_loss", "val_roc_auc", "val_accuracy"]
    assert rows[0] == ["job", "status", "stop_reason", *changes, "best_epoch", "value", *measured, "epochs", "seconds"]
    assert [row[:-1] for row in rows[1:]] == [
        [trained[1], "succeeded", "max_epochs", "[8]", "null", "sgd", "", "2", "0.25", "0.25", "", "", "2"],
        [trained[0], "succeeded", "max_epochs", "", "", "", "0.1", "2", "0.5", "0.5", "", "0.75", "2"],
    ]
    assert all(0 <= float(row[-1]) < 60 for row in rows[1:])


def test_a_leaderboard_as_parquet_keeps_the_types_of_changes(
    client: TestClient, database: Database, tmp_path: Path
) -> None:
    points = [
        {"optimizer.lr": 1, "architecture.batch_norm": True, "seed": 3, "early_stopping": None},
        {"optimizer.lr": 0.5, "architecture.hidden": [8], "max_seconds": None, "optimizer.kind": "sgd"},
    ]
    sweep = submit(client, points=points).json()
    trained = [train(database, val_loss=0.5, val_accuracy=0.75), train(database, val_loss=0.25, val_roc_auc=None)]

    response = client.get(f"/v1/sweeps/{sweep['id']}/results", headers={"Accept": "application/vnd.apache.parquet"})

    assert response.headers["content-disposition"] == f'attachment; filename="{sweep["id"]}.parquet"'
    (tmp_path / "answer").write_bytes(response.content)
    table = duckdb.read_parquet(str(tmp_path / "answer"))
    text = client.get(f"/v1/sweeps/{sweep['id']}/results", headers={"Accept": "text/csv"}).text
    assert table.columns == next(csv.reader(text.splitlines()))
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    numbers = {"optimizer.lr": "DOUBLE", "seed": "BIGINT", "best_epoch": "BIGINT", "val_loss": "DOUBLE"}
    assert types.items() >= {**numbers, "architecture.batch_norm": "BOOLEAN", "max_seconds": "VARCHAR"}.items()
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.fetchall())
    assert (first["job"], second["job"]) == (trained[1], trained[0])
    changes = {"optimizer.lr": 0.5, "seed": None, "architecture.hidden": "[8]", "max_seconds": "null"}
    assert first.items() >= {**changes, "optimizer.kind": "sgd", "val_loss": 0.25, "val_roc_auc": None}.items()
    assert second.items() >= {"optimizer.lr": 1.0, "seed": 3, "architecture.batch_norm": True}.items()


def test_a_long_leaderboard_is_complete_as_csv(client: TestClient) -> None:
    sweep = submit(client, grid={"seed": list(range(1_100))}).json()

    response = client.get(f"/v1/sweeps/{sweep['id']}/results", headers={"Accept": "text/csv"})

    assert [row["seed"] for row in csv.DictReader(response.text.splitlines())] == [str(n) for n in range(1_100)]


@pytest.mark.parametrize(
    "fields",
    [{"replicates": 3, "grid": {"batch_size": [8, 16]}}, {"grid": {"batch_size": [8, 16], "seed": [0, 1, 2]}}],
)
def test_a_summary_averages_configurations_over_seeds(client: TestClient, database: Database, fields: Any) -> None:
    sweep = submit(client, **fields).json()
    for loss in (0.5, 0.6, 0.7, 0.1, 0.2, 0.3):
        train(database, val_loss=loss)

    page = client.get(f"/v1/sweeps/{sweep['id']}/summary").json()

    assert [point["point"] for point in page["data"]] == [{"batch_size": 16}, {"batch_size": 8}]
    best = page["data"][0]
    assert best["value"] == best["metrics"]["val_loss"]
    assert (best["jobs"], best["value"]["n"]) == (3, 3)
    assert (best["value"]["mean"], best["value"]["std"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert best["best_epoch"] == {"min": 2, "median": 2.0, "max": 2}
    one = client.get(f"/v1/sweeps/{sweep['id']}/summary?limit=1").json()
    rest = client.get(f"/v1/sweeps/{sweep['id']}/summary", params={"limit": 1, "after": one["next"]}).json()
    assert one["data"] + rest["data"] == page["data"]


def test_cross_validation_trains_each_point_on_every_fold(client: TestClient, database: Database) -> None:
    sweep = submit(client, grid={"batch_size": [8, 16]}, folds=3, replicates=2).json()
    jobs = client.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 100}).json()["data"][::-1]

    assert (sweep["jobs"], sweep["folds"], sweep["replicates"]) == (12, 3, 2)
    assert [job["spec"]["split"]["fold"] for job in jobs] == [1, 1, 2, 2, 3, 3] * 2
    assert {(job["spec"]["split"]["folds"], job["spec"]["split"]["validation"]) for job in jobs} == {(3, None)}

    for loss in (0.1, 0.3, 0.2, 0.2, 0.9, 0.9, *[0.3] * 6):
        train(database, val_loss=loss)
    better, worse = client.get(f"/v1/sweeps/{sweep['id']}/summary").json()["data"]
    assert better["point"] == {"batch_size": 16, "split.folds": 3}
    none = pytest.approx(0)
    assert (better["jobs"], better["value"]) == (
        6,
        {"n": 3, "mean": pytest.approx(0.3), "std": none, "standard_error": none},
    )
    error = pytest.approx(0.4041 * (1 / 3 + 1 / 2) ** 0.5, abs=1e-4)  # a fold has half as many rows as train
    assert worse["value"] == {
        "n": 3,
        "mean": pytest.approx(13 / 30),
        "std": pytest.approx(0.4041, abs=1e-4),
        "standard_error": error,
    }
    assert (better["versus_best"]["verdict"], worse["versus_best"]["verdict"]) == ("best", "not_distinguishable")
    assert worse["versus_best"]["standard_error"] == error


def test_the_summary_says_which_configurations_can_be_told_from_the_best(
    client: TestClient, database: Database
) -> None:
    sweep = submit(client, grid={"batch_size": [8, 16, 32]}, replicates=4).json()
    assert compared(client, sweep)[8] == {**UNKNOWN, "reason": "no job has a value yet"}
    for loss in (0.50, 0.51, 0.52, 0.53, 0.9, 0.92, 0.9, 0.93, 0.49, 0.55, 0.51, 0.52):
        train(database, val_loss=loss)

    found = compared(client, sweep)

    assert found[8] == {**UNKNOWN, "difference": 0.0, "verdict": "best", "reason": "best mean of 3 configurations"}
    worse, similar = found[16], found[32]
    assert (worse["verdict"], worse["difference"]) == ("worse", pytest.approx(0.3975))
    assert 0 < worse["p_value"] < 0.001
    assert worse["reason"].startswith("worse by 0.397 (standard error 0.0063, p = ")
    assert worse["reason"].endswith("corrected for 3 configurations)")
    assert (similar["verdict"], similar["reason"][:19]) == ("not_distinguishable", "no clear difference")


def test_with_one_run_a_configuration_the_summary_says_that_it_does_not_know(
    client: TestClient, database: Database
) -> None:
    sweep = submit(client, grid={"batch_size": [8, 16]}).json()
    for loss in (0.5, 0.6):
        train(database, val_loss=loss)

    found = compared(client, sweep)

    assert found[8]["reason"] == "best value of 2 configurations; it has one run, so chance may have decided"
    assert (found[16]["verdict"], found[16]["difference"]) == ("unknown", pytest.approx(0.1))
    assert found[16]["reason"].startswith("one run in common with the best: how much runs vary is not known")


UNKNOWN = {"difference": None, "standard_error": None, "p_value": None, "verdict": "unknown"}


def compared(client: TestClient, sweep: dict[str, Any]) -> dict[int, Any]:
    """How each batch size compares with the best one."""
    data = client.get(f"/v1/sweeps/{sweep['id']}/summary").json()["data"]
    return {point["point"]["batch_size"]: point["versus_best"] for point in data}
