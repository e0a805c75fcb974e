"""Plans: layers, rows, task and warnings; nothing is created."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.store import workers
from service.store.engine import Database
from tests.store.test_workers import info


def plan(client: TestClient, data: dict[str, Any] | None = None, **fields: Any) -> Any:
    body = {"data": data or {"kind": "synthetic", "rows": 60, "features": 3}, **fields}
    response = client.post("/v1/jobs/plan", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def inline(y: list[Any]) -> dict[str, Any]:
    return {"kind": "inline", "x": [[float(row)] for row in range(len(y))], "y": y}


def test_a_plan_shows_each_layer_with_its_shape(client: TestClient) -> None:
    planned = plan(client, architecture={"hidden": [8], "dropout": 0.5, "activation": "gelu"})

    assert [(layer["kind"], layer["input"], layer["output"], layer["parameters"]) for layer in planned["layers"]] == [
        ("linear", 3, 8, 32),
        ("batch_norm", 8, 8, 16),
        ("activation", 8, 8, 0),
        ("dropout", 8, 8, 0),
        ("linear", 8, 2, 18),
    ]
    assert [layer["index"] for layer in planned["layers"]] == [0, 1, 2, 3, 4]
    assert planned["layers"][2]["details"] == {"function": "gelu"}
    assert planned["layers"][3]["details"] == {"p": 0.5}
    assert planned["parameters"] == 66


def test_a_plan_shows_the_shapes_of_images(client: TestClient) -> None:
    cnn = {"kind": "cnn", "shape": [1, 4, 4], "channels": [3], "batch_norm": False, "hidden": []}

    planned = plan(client, {"kind": "synthetic", "rows": 60, "features": 16}, architecture=cnn)

    assert [(layer["kind"], layer["output_shape"]) for layer in planned["layers"]] == [
        ("unflatten", [1, 4, 4]),
        ("conv2d", [3, 4, 4]),
        ("activation", [3, 4, 4]),
        ("max_pool", [3, 2, 2]),
        ("flatten", [12]),
        ("linear", [2]),
    ]
    assert planned["layers"][1]["details"] == {"out_channels": 3, "kernel_size": 3, "stride": 1, "padding": 1}


@pytest.mark.parametrize(
    ("layers", "pointer", "message"),
    [
        ([{"kind": "batch_norm"}, {"kind": "relu"}], "layers/1/kind", "should be one of 'linear', "),
        ([{"p": 0.5}], "layers/0/kind", "is required"),
        ([{"kind": "linear"}], "layers/0/out_features", "is required"),
        (
            [{"kind": "batch_norm"}, {"kind": "conv2d", "out_channels": 1, "kernel_size": 1}],
            "layers/1",
            "conv2d takes ",
        ),
        ([{"kind": "flatten"}], "layers/0", "flatten has nothing to do"),
        ({}, "layers", "should be a list"),
    ],
)
def test_an_invalid_layer_is_a_422_with_its_pointer(
    client: TestClient, layers: Any, pointer: str, message: str
) -> None:
    body = {"data": {"kind": "synthetic"}, "architecture": {"kind": "layers", "layers": layers}}

    response = client.post("/v1/jobs/plan", json=body)

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"] == f"/architecture/{pointer}"
    assert error["message"].startswith(message)


@pytest.mark.parametrize(("field", "value"), [("shape", [1]), ("shape", [0, 20]), ("hidden", [3])])
def test_an_invalid_field_beside_the_layers_is_a_422_with_its_pointer(
    client: TestClient, field: str, value: Any
) -> None:
    network = {"kind": "layers", "layers": [{"kind": "batch_norm"}], field: value}

    response = client.post("/v1/jobs/plan", json={"data": {"kind": "synthetic"}, "architecture": network})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith(f"/architecture/{field}")


def test_a_training_step_over_the_memory_limit_is_refused(client: TestClient) -> None:
    data = {"kind": "synthetic", "rows": 1_000_000, "features": 40}
    body = {"data": data, "batch_size": "full", "architecture": {"hidden": [8_000]}}

    response = client.post("/v1/jobs/plan", json=body)

    assert response.status_code == 422
    assert response.json()["detail"] == (
        "a step of 800,000 rows would hold 72 GiB between the layers; at most 8 GiB are allowed: take batches of at"
        " most 89,121 rows"
    )


@pytest.mark.parametrize(
    ("shape", "pointer"), [([20], ""), ([1, 2, 3, 4], ""), ([4, 6], ""), ([0, 20], "/0"), (["1", 20], "/0"), (None, "")]
)
def test_an_invalid_shape_is_a_422_with_its_pointer(client: TestClient, shape: Any, pointer: str) -> None:
    body = {"data": {"kind": "synthetic", "features": 20}, "architecture": {"kind": "cnn", "shape": shape}}

    response = client.post("/v1/jobs/plan", json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"/architecture/shape{pointer}"


def test_a_plan_counts_rows_and_steps(client: TestClient) -> None:
    planned = plan(client, inline([*range(58), None, None]), batch_size=16, split={"validation": 0.25, "test": 0.25})

    assert planned["rows"] == {"train": 30, "validation": 14, "test": 14, "dropped": 2, "exact": True}
    assert (planned["steps_per_epoch"], planned["monitor"]) == (2, "val_loss")
    plain = {"categories": None, "other": False, "missing_indicator": False, "embedding_size": None, "value_inputs": 0}
    plain["type"] = "integer"
    assert planned["inputs"] == [{"column": "x0", "width": 1, "bins": 0, **plain}]
    binned = plan(client, inline([*range(58), None, None]), preprocess={"numeric": "piecewise_linear", "bins": 8})
    assert binned["inputs"] == [{"column": "x0", "width": 9, "bins": 8, **plain}]


@pytest.mark.parametrize(
    ("y", "task", "reason"),
    [
        (["a", "b"] * 10, "classification", "the target 'y' holds text"),
        ([True, False] * 10, "classification", "the target 'y' is true or false"),
        (
            [1, 2, 3, 4] * 5,
            "classification",
            "the target 'y' has 4 different whole numbers, and up to 20 are taken for",
        ),
        (
            list(range(21)),
            "regression",
            "the target 'y' has 21 different whole numbers, and more than 20 are taken for",
        ),
        ([0.5, 1.5] * 10, "regression", "the target 'y' holds numbers with fractions"),
    ],
)
def test_a_plan_says_why_it_is_this_task(client: TestClient, y: list[Any], task: str, reason: str) -> None:
    planned = plan(client, inline(y))

    assert planned["task"] == planned["spec"]["task"] == task
    assert planned["task_reason"].startswith(reason)
    assert planned["classes"] == (sorted(set(y)) if task == "classification" else None)


def test_a_plan_uses_the_task_of_the_spec(client: TestClient) -> None:
    planned = plan(client, inline([1, 2, 3, 4] * 5), task="regression")

    assert (planned["task"], planned["task_reason"]) == ("regression", "set in the spec")


def test_a_plan_has_warnings_with_pointers(client: TestClient) -> None:
    (warning,) = plan(client, batch_size=16, max_epochs=5, early_stopping={"patience": 10})["warnings"]

    assert (warning["code"], warning["pointer"]) == ("patience_cannot_fire", "/early_stopping/patience")


def test_target_leakage_is_warned_of_in_plan_and_job(client: TestClient) -> None:
    rows = [f"{i + 7},{i * 37 % 101},{'rare' if i == 5 else i % 3}" for i in range(200)]
    table = "\n".join(["id,code,answer,leak", *(f"{row},l{row.split(',')[2]}" for row in rows)])
    dataset = client.post("/v1/datasets", content=table).json()
    body = {"data": {"kind": "dataset", "id": dataset["id"], "target": "answer"}}

    warnings = plan(client, **body)["warnings"]

    assert {warning["code"]: warning["pointer"] for warning in warnings} == {
        "rare_categories": "/data/features",
        "target_leakage": "/data/features",
        "id_like_column": "/data/features",
        "rare_classes": "/data/target",
    }
    assert client.post("/v1/jobs", json=body).json()["warnings"] == warnings


def test_duplicate_inline_rows_are_warned_of(client: TestClient) -> None:
    data = {"kind": "inline", "x": [[float(row % 40)] for row in range(60)], "y": [row % 2 for row in range(60)]}

    warnings = plan(client, data)["warnings"]

    assert ("rows_on_both_sides", "/split") in [(warning["code"], warning["pointer"]) for warning in warnings]


def test_a_plan_creates_nothing(client: TestClient) -> None:
    plan(client)

    assert client.get("/v1/jobs").json()["data"] == []


def test_a_plan_says_where_training_reads_its_rows_and_why(client: TestClient) -> None:
    table = "a,y\n" + "".join(f"{i % 11},{'pq'[i % 3 % 2]}\n" for i in range(3_000))
    dataset = client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()["id"]
    data = {"kind": "dataset", "id": dataset, "target": "y"}

    memory, streamed = plan(client, data), plan(client, {**data, "streaming": {"window_rows": 1_500}})

    assert memory["row_access"]["mode"] == "memory"
    assert memory["spec"]["data"]["streaming"] == "off"
    assert streamed["spec"]["data"]["streaming"] == {"window_rows": 1_280}
    reason = streamed["row_access"].pop("reason")
    assert reason.startswith("rows are streamed from disk, because the spec asks for it: ")
    expected = {"mode": "disk", "window_rows": 1_280, "block_rows": 256, "disk_bytes": 3_000 * 32 * 4}
    assert streamed["row_access"] == expected
    assert [warning["code"] for warning in streamed["warnings"]].count("rows_streamed") == 1


def folds(client: TestClient, rows: int = 10_000, features: int = 20, **fields: Any) -> dict[str, Any]:
    data = {"kind": "synthetic", "rows": rows, "features": features}
    array: dict[str, Any] = plan(client, data, split={"folds": 8}, **fields)["array"]
    return array


def test_a_plan_says_that_folds_train_as_one_array(client: TestClient) -> None:
    array = folds(client)

    assert (array["arrays"], array["limited_by"], array["reason"]) == (1, None, None)
    assert (array["row_set_bytes"], array["row_sets"]) == (10_000 * 32 * 4, 2**30 // (10_000 * 32 * 4))
    assert array["jobs"] > 8


def test_a_plan_without_folds_is_one_array(client: TestClient) -> None:
    planned = plan(client, {"kind": "synthetic", "rows": 5_000_000, "features": 10}, batch_size=4_096)

    assert (planned["array"]["row_sets"], planned["array"]["arrays"], planned["array"]["limited_by"]) == (1, 1, None)
    assert planned["array"]["memory_bytes"] == planned["memory_bytes"]


@pytest.mark.parametrize(
    ("fields", "arrays", "limited_by", "reason"),
    [
        (
            {"rows": 2_400_000, "batch_size": 4_096},
            3,
            "row_memory",
            "8 folds train as 3 arrays of 3 at most: the rows of a fold take 293 MiB, and those of an array at most"
            " 1,024 MiB",
        ),
        (
            {"architecture": {"hidden": [1_000, 600]}},
            3,
            "parameters",
            "8 folds train as 3 arrays of 3 at most: an array has at most 2,097,152 parameters, and one has 626,002",
        ),
        ({"rows": 200_000, "architecture": {"hidden": [16]}, "batch_size": "full"}, 4, "step_values", None),
    ],
)
def test_a_plan_says_why_folds_need_several_arrays(
    client: TestClient, fields: dict[str, Any], arrays: int, limited_by: str, reason: str | None
) -> None:
    array = folds(client, **fields)

    assert (array["arrays"], array["limited_by"]) == (arrays, limited_by)
    assert reason in (None, array["reason"])
    assert f"8 folds train as {arrays} arrays" in array["reason"]


def test_a_plan_warns_when_no_live_worker_has_the_labels(client: TestClient, database: Database) -> None:
    spec = {"data": {"kind": "synthetic"}, "worker": {"labels": {"gpu": "h100"}}}
    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_1", labels={"gpu": "a100"}))

    (warning,) = [
        each
        for each in client.post("/v1/jobs/plan", json=spec).json()["warnings"]
        if each["code"] == "no_worker_with_labels"
    ]
    assert warning["pointer"] == "/worker/labels"
    assert "gpu=h100" in warning["message"]
    assert "(labels: gpu=a100)" in warning["message"]

    with database.transaction() as connection:
        workers.heartbeat(connection, info("wrk_2", labels={"gpu": "h100", "spot": "true"}))
    codes = [each["code"] for each in client.post("/v1/jobs/plan", json=spec).json()["warnings"]]
    assert "no_worker_with_labels" not in codes
