"""Unknown fields and parameters suggest the likely one."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

DATA = {"kind": "synthetic", "rows": 100}
TABLE = {"kind": "dataset", "id": "ds_1", "target": "y"}


@pytest.mark.parametrize(
    ("fields", "pointer", "meant"),
    [
        ({"epochs": 3}, "/epochs", "max_epochs"),
        ({"max_epoch": 3}, "/max_epoch", "max_epochs"),
        ({"learning_rate": 0.1}, "/learning_rate", "optimizer.lr"),
        ({"lr": 0.1}, "/lr", "optimizer.lr"),
        ({"optimizer": {"learning_rate": 0.1}}, "/optimizer/learning_rate", "lr"),
        ({"optimizer": {"kind": "sgd", "momentun": 0.9}}, "/optimizer/momentun", "momentum"),
        ({"hidden_layers": [8]}, "/hidden_layers", "architecture.hidden"),
        ({"architecture": {"hidden_layers": [8]}}, "/architecture/hidden_layers", "hidden"),
        ({"architecture": {"kind": "mlp", "dropuot": 0.1}}, "/architecture/dropuot", "dropout"),
        ({"batchsize": 8}, "/batchsize", "batch_size"),
        ({"batchSize": 8}, "/batchSize", "batch_size"),
        ({"target": "y"}, "/target", "data.target"),
        ({"patience": 3}, "/patience", "early_stopping.patience"),
        ({"early_stopping": {"patient": 3}}, "/early_stopping/patient", "patience"),
        ({"random_state": 3}, "/random_state", "seed"),
        ({"class_weights": "balanced"}, "/class_weights", "loss.class_weight"),
        ({"loss": {"kind": "quantile", "quantile": 0.9}}, "/loss/quantile", "q"),
        ({"validation_split": 0.1}, "/validation_split", "split.validation"),
        ({"split": {"val": 0.1}}, "/split/val", None),
        ({"data": {**TABLE, "targt": "y"}}, "/data/targt", "target"),
        ({"zzz": 1}, "/zzz", None),
        ({"epochs" * 100: 1}, "/" + "epochs" * 100, None),
        ({"data": {**DATA, "target": "y"}}, "/data/target", None),
    ],
)
def test_an_unknown_field_of_a_job_spec_suggests_the_likely_one(
    client: TestClient, fields: dict[str, Any], pointer: str, meant: str | None
) -> None:
    response = client.post("/v1/jobs", json={"data": DATA, **fields})

    message = "unknown field" if meant is None else f"unknown field; did you mean `{meant}`?"
    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": pointer, "message": message}]
    assert response.json()["detail"] == f"{pointer.lstrip('/').replace('/', '.')}: {message}"


@pytest.mark.parametrize(
    ("sweep", "pointer", "meant"),
    [
        ({"base": {"data": DATA, "epochs": 3}, "replicates": 2}, "/base/epochs", "max_epochs"),
        ({"base": {"data": DATA}, "grids": {}}, "/grids", "grid"),
        ({"base": {"data": DATA}, "grid": {"epochs": [1, 2]}}, "/grid/epochs", "max_epochs"),
        ({"base": {"data": DATA}, "grid": {"lr": [0.1]}}, "/grid/lr", "optimizer.lr"),
        (
            {"base": {"data": DATA}, "grid": {"optimizer.learning_rate": [0.1]}},
            "/grid/optimizer.learning_rate",
            "optimizer.lr",
        ),
        ({"base": {"data": DATA}, "points": [{"batchsize": 8}]}, "/points/0/batchsize", "batch_size"),
    ],
)
def test_an_unknown_name_in_a_sweep_suggests_the_likely_one(
    client: TestClient, sweep: dict[str, Any], pointer: str, meant: str
) -> None:
    response = client.post("/v1/sweeps", json=sweep)

    assert response.json()["errors"] == [{"pointer": pointer, "message": f"unknown field; did you mean `{meant}`?"}]


def test_an_unknown_field_of_a_list_item_suggests_the_likely_one(client: TestClient) -> None:
    response = client.post("/v1/jobs/job_1/early-stopping/replay", json={"rules": [{"rule": "gl", "aplha": 1.0}]})

    assert response.json()["errors"] == [
        {"pointer": "/rules/0/aplha", "message": "unknown field; did you mean `alpha`?"}
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/jobs?limits=3", "unknown parameter; did you mean `limit`? (known: after, label.KEY, limit, name, status"),
        ("/v1/jobs?zzz=3", "unknown parameter (known: after, label.KEY"),
        ("/v1/version?zzz=3", "unknown parameter (known: none)"),
    ],
)
def test_an_unknown_query_parameter_suggests_the_likely_one(client: TestClient, path: str, message: str) -> None:
    response = client.get(path)

    (found,) = response.json()["errors"]
    assert response.status_code == 422
    assert found["message"].startswith(message)
    assert response.json()["detail"].startswith(f"{found['parameter']}: unknown parameter")
