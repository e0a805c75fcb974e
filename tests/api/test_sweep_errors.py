"""Sweeps that are refused: errors with their cause, duplicates, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor
from tests.api.sweep_requests import BASE, NUMBERS, errors, submit

CLASSES = {"data": {"kind": "inline", "x": [[i] for i in range(60)], "y": [i % 2 for i in range(60)]}}
BY_TRAIN_LOSS = {**BASE, "early_stopping": {"monitor": "train_loss"}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grid": {"optimizer.lr": [0.1, -1, "x"]}}, ["/grid/optimizer.lr/1", "/grid/optimizer.lr/2"]),
        ({"grid": {"seed": [1, 2], "optimizer.lr": [0.1, 99]}}, ["/grid/optimizer.lr/1"]),
        ({"grid": {"optimizer.lrr": [0.1, 0.2]}}, ["/grid/optimizer.lrr"]),
        ({"grid": {"optimzer.lr": [0.1]}}, ["/grid/optimzer.lr"]),
        ({"grid": {"seed.x": [0.1]}}, ["/grid/seed.x/0"]),
        ({"grid": {"seed": [1, json.loads("[" * 900 + "]" * 900)]}}, ["/grid/seed/1"]),
        ({"points": [{}, {"name": "half a \ud800"}]}, ["/points/1/name"]),
        ({"grid": {"optimizer": [{}, {"lrr": 1}]}}, ["/grid/optimizer/1/lrr"]),
        ({"grid": {"optimizer.kind": ["adam", "rprop"]}}, ["/grid/optimizer.kind/1"]),
        ({"grid": {"architecture.hidden": [[4], [4, 0]]}}, ["/grid/architecture.hidden/1/1"]),
        ({"grid": {"data.rows": [60, 3_000_000], "data.features": [30]}}, ["/grid/data.rows/1"]),
        ({"grid": {"data": [{"id": "ds_0", "target": "y"}]}}, ["/grid/data/0/id"]),
        ({"points": [{}, {"batch_size": 8, "optimizer.lr": -1}]}, ["/points/1/optimizer.lr"]),
        ({"points": [{"batch_sise": 8}, {"seed": -1}]}, ["/points/0/batch_sise", "/points/1/seed"]),
        ({"base": {**BASE, "seed": 2**32 - 2}, "replicates": 3}, ["/base/seed"]),
        ({"base": {**BASE, "sede": 1}}, ["/base/sede"]),
        ({"base": {"data": {"id": "ds_0", "target": "y"}}, "replicates": 3}, ["/base/data/id"]),
        ({"grid": {"seed": [1]}, "points": [{}]}, ["/points"]),
        ({"grid": {"seed": [1]}, "replicates": 2}, ["/replicates"]),
        ({"grid": {"seed": []}}, ["/grid/seed"]),
        ({"replicates": 0}, ["/replicates"]),
        ({"folds": 1}, ["/folds"]),
        ({"folds": 3, "grid": {"split.folds": [2, 3]}}, ["/folds"]),
        ({"folds": 3, "base": {**BASE, "split": {"order_by": "x0"}}}, ["/folds"]),
        ({"folds": 3, "grid": {"split.validation": [0.1, 0.2]}}, ["/folds"]),
        ({"folds": 61}, ["/folds"]),
        ({"folds": 60, "repeats": 2}, ["/repeats"]),
        ({"folds": 3, "base": {**BASE, "split": {"folds": 5}}}, ["/folds"]),
        ({"grid": {"loss.kind": ["squared", "huber"]}, "base": NUMBERS}, ["/grid/loss.kind/1"]),
        ({"points": [{}, {"loss": {"kind": "absolute"}}], "base": NUMBERS}, ["/points/1/loss/kind"]),
        ({"grid": {"loss.q": [0.1, 0.9]}, "base": {**NUMBERS, "loss": {"kind": "quantile"}}}, ["/grid/loss.q/1"]),
        ({"grid": {"loss.label_smoothing": [0, 0.3]}, "base": BY_TRAIN_LOSS}, ["/grid/loss.label_smoothing/1"]),
        ({"grid": {"loss.class_weight": [None, "balanced"]}, "base": BY_TRAIN_LOSS}, ["/grid/loss.class_weight/1"]),
        ({"grid": {"task": ["classification", "regression"]}}, ["/grid/task/1"]),
        ({"points": [{}, {"data.y": [i / 8 for i in range(60)]}], "base": CLASSES}, ["/base/task"]),
    ],
)
def test_an_error_points_at_the_value_that_causes_it(client: TestClient, fields: Any, expected: list[str]) -> None:
    assert [pointer for pointer, _ in errors(client, **fields)] == expected


def test_losses_are_compared_by_a_metric(client: TestClient) -> None:
    grid = {"loss.kind": ["squared", "huber"]}

    ((_, message),) = errors(client, base=NUMBERS, grid=grid)
    monitored = submit(client, base={**NUMBERS, "early_stopping": {"monitor": "val_rmse"}}, grid=grid)

    assert message == (
        "val_loss of different losses cannot be compared: set early_stopping.monitor of the base to a metric, such as"
        " val_rmse"
    )
    assert monitored.status_code == 201


def test_jobs_that_stop_by_their_loss_are_compared_by_the_metric_of_the_base(client: TestClient) -> None:
    base = {**NUMBERS, "early_stopping": {"monitor": "val_rmse"}}
    points = [{}, {"loss.kind": "huber", "early_stopping.monitor": "val_loss"}]

    assert submit(client, base=base, points=points).status_code == 201


def test_smoothed_labels_and_weighted_classes_do_not_change_the_loss_of_validation_rows(client: TestClient) -> None:
    grid = {"loss.label_smoothing": [0, 0.3], "loss.class_weight": [None, "balanced"]}

    assert submit(client, grid=grid).status_code == 201


def test_an_error_in_a_field_of_another_kind_names_the_kind(client: TestClient) -> None:
    grid = {"architecture.kind": ["mlp", "resnet"], "architecture.width": [8]}

    assert errors(client, grid=grid) == [
        (
            "/grid/architecture.width",
            'unknown field (with architecture.kind="mlp")',
        )
    ]


def test_a_message_does_not_repeat_its_field(client: TestClient) -> None:
    response = submit(client, folds=3, grid={"split.folds": [2, 3]})

    assert response.json()["detail"] == (
        "folds set split.folds and split.fold: remove them and `split` from the points"
    )


def test_an_error_in_the_base_names_the_point_that_causes_it(client: TestClient) -> None:
    base = {**BASE, "architecture": {"batch_norm": False}, "batch_size": 1}

    found = errors(client, base=base, grid={"architecture.batch_norm": [False, True], "seed": [1, 2]})

    assert found == [
        (
            "/base/batch_size",
            "batch normalization needs at least 2 rows in a batch (with architecture.batch_norm=true, seed=1)",
        )
    ]


def test_an_error_of_the_base_alone_is_listed_once(client: TestClient) -> None:
    found = errors(client, base={**BASE, "batch_size": 1}, grid={"seed": [1, 2, 3]})

    assert found == [("/base/batch_size", "batch normalization needs at least 2 rows in a batch")]


def test_at_most_twenty_errors_of_a_sweep_are_listed(client: TestClient) -> None:
    response = submit(client, grid={"optimizer.lr": list(range(-30, 0))})

    assert len(response.json()["errors"]) == 20
    assert response.json()["detail"] == "/grid/optimizer.lr/0 should be greater than 0 (and 19 more)"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"grid": {"batch_size": [64, 32, 64]}}, "/grid"),
        ({"points": [{"seed": 1}, {}, {"optimizer": {"kind": "adam"}}]}, "/points/2"),
    ],
)
def test_duplicate_jobs_are_refused(client: TestClient, fields: Any, pointer: str) -> None:
    ((where, message),) = errors(client, **fields)

    assert where == pointer
    assert message.startswith("duplicate job: ")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"grid": {"seed": [1, 2], "batch_size": [8, 16, 32]}}, "/grid"),
        ({"points": [{"seed": seed} for seed in range(6)]}, "/points"),
        ({"replicates": 6}, "/replicates"),
    ],
)
def test_a_sweep_over_the_servers_limit_is_refused(
    tmp_path: Path, database: Database, artifacts: Artifacts, fields: Any, pointer: str
) -> None:
    settings = Settings(home=tmp_path, max_sweep_jobs=5)
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        assert errors(client, **fields) == [(pointer, "the sweep would be 6 jobs; this server allows 5")]


@pytest.mark.slow
def test_inline_rows_are_not_stored_a_thousand_times(client: TestClient) -> None:
    data = {"kind": "inline", "x": [[0.123456789 * i] * 10 for i in range(1, 2_001)], "y": [0, 1] * 1_000}

    ((pointer, message),) = errors(client, base={"data": data}, replicates=1_000)

    assert pointer == "/base/data"
    assert "more than 64 MiB" in message
