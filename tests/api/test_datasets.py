"""Data sets: upload, deduplication, profile, preview, delete."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases

CSV = b"size,kind,seen,ok\n1.5,a,2024-01-02,true\n2.5,b,2024-01-03,false\nNA,a,2024-01-04,true\n"
WARNING = "2,040 rows are duplicates of an earlier row"
PART = b"--x\r\nContent-Disposition: form-data; %s\r\n\r\na,b\r\n--x--\r\n"


def upload(client: TestClient | httpx2.Client, data: bytes = CSV, **query: Any) -> Any:
    return client.post("/v1/datasets", content=data, params=query)


def files(artifacts: Artifacts, folder: str) -> list[Path]:
    """All files below the folder; subfolders may disappear meanwhile."""
    return [Path(place) / name for place, _, names in os.walk(artifacts.path(folder)) for name in names]


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
        del dataset["columns"]
    assert page == {"object": "list", "data": expected[:1], "has_more": True, "next": newer["id"]}
    assert rest == {"object": "list", "data": expected[1:], "has_more": False, "next": None}
    assert client.get("/v1/datasets?columns=true").json()["data"] == [newer, older]


@pytest.mark.e2e
def test_a_list_without_columns_is_short_however_wide_the_tables_are(client: TestClient) -> None:
    rows = [",".join(f"{cell}" for cell in range(row, row + 2_000)) for row in range(4)]
    upload(client, "\n".join([",".join(f"x{i}" for i in range(2_000)), *rows]).encode())

    full, light = client.get("/v1/datasets?columns=true"), client.get("/v1/datasets")

    assert light.json()["data"][0]["column_count"] == 2_000
    assert (len(full.content) > 400_000, len(light.content) < 2_000) == (True, True)


@both_databases
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


def test_a_multipart_form_gives_the_same_data_set_as_the_raw_bytes(client: TestClient, artifacts: Artifacts) -> None:
    form = client.post("/v1/datasets", files={"file": ("shoes.csv", CSV, "text/csv")})
    raw = upload(client)

    assert (form.status_code, raw.status_code) == (201, 200)
    assert raw.json() == form.json()
    assert raw.headers["location"] == form.headers["location"]
    assert len(files(artifacts, "datasets")) == 1
    assert files(artifacts, "tmp") == []


def test_the_same_bytes_with_other_options_are_another_data_set(client: TestClient) -> None:
    usual = upload(client).json()

    first, again = upload(client, null=["2.5", "x"]), upload(client, null=["x", "2.5"])

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] != usual["id"]
    assert first.json()["null_values"] == ["2.5", "x"]
    assert first.json()["columns"][0]["type"] == "text"  # NA is no missing value any more


@both_databases
def test_the_same_upload_five_times_at_once_is_one_data_set(live: httpx2.Client, artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(5) as pool:
        responses = list(pool.map(lambda _: upload(live), range(5)))

    assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(files(artifacts, "datasets")) == 1


@pytest.mark.parametrize("options", [{"content": b""}, {"files": {"file": ("x.csv", b"")}}])
def test_an_empty_upload_is_a_422(client: TestClient, options: dict[str, Any]) -> None:
    response = client.post("/v1/datasets", **options)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert response.json()["detail"].startswith("the body is empty")


@pytest.mark.parametrize(
    ("body", "content_type", "detail"),
    [
        (PART % b'name="data"; filename="f"', "boundary=x", "the form has no"),
        (PART % b'name="file"', "boundary=x", "the form has no file"),
        (b"junk", "boundary=x", "Invalid multipart data"),
        (b"junk", "", "Missing boundary"),
    ],
)
def test_a_form_without_the_file_is_a_400(client: TestClient, body: bytes, content_type: str, detail: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; {content_type}"}

    response = client.post("/v1/datasets", content=body, headers=headers)

    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert response.json()["detail"].startswith(detail)


def test_an_unreadable_file_is_refused_and_leaves_nothing(client: TestClient, artifacts: Artifacts) -> None:
    response = upload(client, b"\x00\x01\x02" * 50)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert client.get("/v1/datasets").json()["data"] == []
    assert files(artifacts, "tmp") == []


def chunks(count: int) -> Iterator[bytes]:
    yield from (b"1,2,3\n" * 1_000 for _ in range(count))


def test_an_upload_over_the_limit_is_a_413(live: httpx2.Client, settings: Settings, artifacts: Artifacts) -> None:
    too_many = settings.max_upload_bytes // 6_000 + 30
    announced = upload(live, b"".join(chunks(too_many)))
    streamed = live.post("/v1/datasets", content=chunks(too_many))
    form = live.post("/v1/datasets", files={"file": ("x.csv", b"".join(chunks(too_many)))})

    for response in (announced, streamed, form):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert files(artifacts, "tmp") == []


def test_an_aborted_upload_leaves_nothing(
    live: httpx2.Client, artifacts: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection((live.base_url.host, live.base_url.port)) as connection:
        connection.sendall(b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\na,b\n1,2\n")
        wait_until(lambda: files(artifacts, "tmp") != [])

    wait_until(lambda: files(artifacts, "tmp") == [])
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("query", ["format=xlsx", "name=", "name=a%0Ab", "nulls=x", f"null={'x' * 101}"])
def test_invalid_options_are_refused(client: TestClient, query: str) -> None:
    response = client.post(f"/v1/datasets?{query}", content=CSV)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["parameter"] == query.split("=")[0]


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
        {"column": "size", "categories": None, "missing_indicator": True, **plain},
        {"column": "kind", "categories": ["a", "b"], "missing_indicator": False, **plain},
    ]
    assert (plan["classes"], plan["task_reason"]) == (["u", "v"], "the target 'y' holds text")
