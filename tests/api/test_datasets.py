"""Data sets: profile, list, preview, use by jobs, delete."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.datasets import CSV, files, upload

WARNING = "2,040 rows are duplicates of an earlier row"


@both_databases
def test_an_upload_is_described_column_by_column(client: TestClient) -> None:
    response = upload(client, name="shoes")

    dataset = response.json()
    assert (response.status_code, dataset["name"], dataset["rows"]) == (201, "shoes", 3)
    assert [(column["name"], column["type"], column["missing"]) for column in dataset["columns"]] == [
        ("size", "number", 1), ("kind", "text", 0), ("seen", "datetime", 0), ("ok", "boolean", 0),
    ]  # fmt: skip
    assert (dataset["sha256"], dataset["source_bytes"]) == (hashlib.sha256(CSV).hexdigest(), len(CSV))
    assert "NA" in dataset["null_values"]
    assert client.get(response.headers["location"]).json() == dataset
    assert client.get("/v1/datasets?columns=true").json()["data"] == [dataset]


@both_databases
def test_a_list_has_column_counts_or_on_request_columns(client: TestClient) -> None:
    older, newer = upload(client, name="shoes").json(), upload(client, b"a,b\n1,2\n").json()

    page = client.get("/v1/datasets?limit=1").json()
    rest = client.get(f"/v1/datasets?columns=false&after={page['next']}").json()

    expected = [{**newer, "column_count": 2}, {**older, "column_count": 4}]
    for dataset in expected:
        del dataset["columns"], dataset["provenance"]
    assert page == {"object": "list", "data": expected[:1], "has_more": True, "next": newer["id"]}
    assert rest == {"object": "list", "data": expected[1:], "has_more": False, "next": None}
    assert client.get("/v1/datasets?columns=true").json()["data"] == [newer, older]


@pytest.mark.e2e
def test_a_list_without_columns_is_short_however_wide_the_tables_are(client: TestClient) -> None:
    rows = [",".join(f"{cell}" for cell in range(row, row + 500)) for row in range(4)]
    upload(client, "\n".join([",".join(f"x{i}" for i in range(500)), *rows]).encode())

    full, light = client.get("/v1/datasets?columns=true"), client.get("/v1/datasets")

    assert light.json()["data"][0]["column_count"] == 500
    assert (len(full.content) > 100_000, len(light.content) < 2_000) == (True, True)


def test_the_stored_profile_of_a_data_set_is_limited_in_bytes(
    settings: Settings, database: Database, artifacts: Artifacts
) -> None:
    narrow = settings.model_copy(update={"max_profile_bytes": 20_000, "max_upload_bytes": 10**6})
    rows = [f"{'t' * 200}{i % 700},{'yes' if i % 3 else 'no'},{i % 2}" for i in range(3_500)]
    with TestClient(create_app(narrow, database, artifacts, CoinPredictor())) as client:
        dataset = upload(client, "\n".join(["long,short,y", *rows]).encode()).json()
        used = client.get("/v1/usage").json()
        job = {"data": {"kind": "dataset", "id": dataset["id"], "target": "y"}}
        plan = client.post("/v1/jobs/plan", json=job).json()
        classes = client.post("/v1/jobs/plan", json={"data": {**job["data"], "target": "long"}})

    long, short, _ = dataset["columns"]
    assert (long["distinct"], long["values"], len(short["values"])) == (700, None, 2)
    assert 10 < len(long["top"]) < 100
    assert any("the values of 'long' exceed the profile" in warning for warning in dataset["warnings"])
    assert len(json.dumps(dataset["columns"])) < 22_000
    assert used["stored"]["profiles"] == len(json.dumps(dataset["columns"]))
    assert used["dataset_bytes"]["used"] == dataset["parquet_bytes"] + used["stored"]["profiles"]
    assert [column["column"] for column in plan["inputs"]] == ["long", "short"]
    assert classes.status_code == 422
    assert "too long or too many to be listed" in classes.json()["errors"][0]["message"]


def test_a_profile_has_the_distribution_of_values(client: TestClient) -> None:
    rows = [f"{i % 1_020},2024-01-{i % 4 + 1:02},{i // 2_040}" for i in range(5_100)]

    created = upload(client, "\n".join(["size,seen,kind", *rows]).encode()).json()

    dataset = client.get(f"/v1/datasets/{created['id']}").json()
    size, seen, kind = dataset["columns"]
    assert (dataset["duplicate_rows"], dataset["warnings"]) == (2_040, [WARNING])
    assert size["quantiles"] == {"p5": 50, "p25": 254, "p50": 509, "p75": 764, "p95": 968}
    assert size["histogram"] == [255] * 20
    assert (size["top"][0], len(size["top"])) == ({"value": 0, "count": 5}, 1_000)
    assert (seen["min"], seen["max"]) == ("2024-01-01 00:00:00", "2024-01-04 00:00:00")
    assert (seen["quantiles"], sum(seen["histogram"])) == (None, 5_100)
    assert (len(kind["values"]), kind["histogram"], kind["top"]) == (3, None, None)


def test_a_preview_shows_the_first_rows_as_json(client: TestClient) -> None:
    dataset = upload(client).json()

    rows = client.get(f"/v1/datasets/{dataset['id']}/preview?rows=2").json()["data"]
    everything = client.get(f"/v1/datasets/{dataset['id']}/preview").json()["data"]

    assert rows[0] == {"size": 1.5, "kind": "a", "seen": "2024-01-02 00:00:00", "ok": True}
    assert (rows, everything[2]["size"]) == (everything[:2], None)


def test_a_preview_of_a_missing_file_is_a_500(client: TestClient, artifacts: Artifacts) -> None:
    dataset = upload(client).json()
    artifacts.delete(f"datasets/{dataset['id']}/data.parquet")

    response = client.get(f"/v1/datasets/{dataset['id']}/preview")

    assert (response.status_code, response.json()["code"]) == (500, "dataset_corrupt")


@pytest.mark.parametrize("query", ["columns=few", "columns=", "columns=false&columns=true"])
def test_columns_are_left_out_or_not(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/datasets?{query}")

    assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "columns")


@pytest.mark.parametrize("query", ["rows=0", "rows=101"])
def test_the_rows_of_a_preview_are_limited(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/datasets/ds_0/preview?{query}").status_code == 422


@both_databases
def test_a_data_set_of_a_live_job_cannot_be_deleted(client: TestClient, artifacts: Artifacts) -> None:
    dataset = upload(client, b"x,y\n" + b"1,a\n2,b\n" * 10).json()
    spec = {"data": {"kind": "dataset", "id": dataset["id"], "target": "y"}}
    job = client.post("/v1/jobs", json=spec).json()

    refused = client.delete(f"/v1/datasets/{dataset['id']}")
    client.post(f"/v1/jobs/{job['id']}/cancel")
    deleted = client.delete(f"/v1/datasets/{dataset['id']}")

    assert (refused.status_code, refused.json()["detail"]) == (409, f"job {job['id']!r} still needs this data set")
    assert (deleted.status_code, len(files(artifacts, "datasets"))) == (204, 1)  # until it is collected
    assert client.get(f"/v1/jobs/{job['id']}").json()["spec"]["data"]["features"] == ["x"]
    for path in ("", "/preview"):
        assert client.get(f"/v1/datasets/{dataset['id']}{path}").status_code == 404
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 404


def test_a_job_is_replayed_by_its_key_after_its_data_set_is_deleted(client: TestClient) -> None:
    dataset = upload(client, b"x,y\n" + b"1,a\n2,b\n" * 10).json()
    request: dict[str, Any] = {
        "json": {"data": {"id": dataset["id"], "target": "y"}},
        "headers": {"Idempotency-Key": "k"},
    }
    job = client.post("/v1/jobs", **request).json()
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204

    response = client.post("/v1/jobs", **request)

    assert (response.status_code, response.json()["id"]) == (200, job["id"])


def test_a_plan_on_an_uploaded_table_names_its_inputs(client: TestClient) -> None:
    dataset = upload(client, b"size,kind,y\n" + b"1.5,a,u\nNA,b,v\n" * 10).json()

    plan = client.post("/v1/jobs/plan", json={"data": {"id": dataset["id"], "target": "y"}}).json()

    plain = {"width": 2, "other": False, "embedding_size": None, "bins": 0, "value_inputs": 0}
    assert plan["inputs"] == [
        {"column": "size", "type": "number", "categories": None, "missing_indicator": True, **plain},
        {"column": "kind", "type": "text", "categories": ["a", "b"], "missing_indicator": False, **plain},
    ]
    assert (plan["classes"], plan["task_reason"]) == (["u", "v"], "the target 'y' holds text")
