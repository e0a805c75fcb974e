"""Uploads of every format: detection, options, errors."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from backports import zstd
from starlette.testclient import TestClient

from service.artifacts import Artifacts
from tests.data.files import BOMB, CSV, FAULTS, X, npy, npz, parquet
from tests.data.image_files import IMAGE_FAULTS, zip_of
from tests.data.test_csv_errors import FAULTS as CSV_FAULTS
from tests.examples import some

FORMATS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "csv": (CSV, {"format": "csv", "delimiter": ","}),
    "tsv": (CSV.replace(b",", b"\t"), {"format": "csv", "delimiter": "\t"}),
    "gzip": (gzip.compress(CSV), {"format": "csv", "compression": "gzip"}),
    "zstd": (zstd.compress(CSV), {"format": "csv", "compression": "zstd"}),
    "jsonl": (b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n', {"format": "jsonl", "encoding": "utf-8"}),
    "parquet": (parquet("SELECT unnest([1, 2]) AS a, unnest(['x', 'y']) AS b"), {"format": "parquet"}),
    "npz": (npz(X=X, labels=np.arange(6) % 2), {"format": "npz", "arrays": {"x": "X", "y": "labels"}, "shape": [2]}),
    "npy": (npy(X.reshape(3, 2, 2)), {"format": "npy", "shape": [2, 2]}),
    "images": (zip_of({}), {"format": "images", "shape": [1, 2, 2]}),
}


def test_a_file_of_any_format_becomes_a_data_set_that_says_how_it_was_read(client: TestClient) -> None:
    for content, expected in FORMATS.values():
        response = client.post("/v1/datasets", content=content)
        read_as = response.json()["read_as"]

        assert response.status_code == 201, response.text
        assert {key: read_as[key] for key in expected} == expected
        assert client.get(response.headers["location"]).json() == response.json()
        assert client.get(f"{response.headers['location']}/preview").status_code == 200


def test_query_options_override_detection_and_make_another_data_set(client: TestClient) -> None:
    text = "a;b\n'1,5';03/04/2020\n'2,5';05/06/2020\n".encode("utf-16")
    query = {"encoding": "utf-16", "delimiter": ";", "quote": "'", "header": "true", "decimal": ",", "format": "csv"}

    found = client.post("/v1/datasets", content=text)
    told, again = (client.post("/v1/datasets", content=text, params={**query, "date_format": "%d/%m/%Y"}) for _ in "12")

    assert (found.status_code, told.status_code, again.status_code) == (201, 201, 200)
    assert found.json()["id"] != told.json()["id"] == again.json()["id"]
    assert [column["type"] for column in told.json()["columns"]] == ["number", "datetime"]
    assert told.json()["read_as"] | {"compression": None} == {
        **query, "header": True, "date_format": "%d/%m/%Y", "compression": None, "index_column": None,
        "skipped_lines": None, "arrays": None, "shape": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    ["delimiter=ab", "quote=x", "decimal=x", "encoding=pickle", "header=maybe", "date_format=x", "shape=2x8x8"],
)
def test_an_unknown_option_is_refused(client: TestClient, query: str) -> None:
    response = client.post(f"/v1/datasets?{query}", content=CSV)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["parameter"] == query.split("=")[0]


@pytest.mark.e2e
@pytest.mark.sampled
def test_damaged_files_of_every_format_are_a_4xx(live: httpx2.Client, artifacts: Artifacts) -> None:
    """One in four of them, or all with `make examples`: what is wrong with each is tested where files are read."""
    contents = [content.encode() if isinstance(content, str) else content for content, _ in CSV_FAULTS.values()]
    contents += [content for content, _ in [*FAULTS.values(), *IMAGE_FAULTS.values()]]
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda content: live.post("/v1/datasets", content=content), some(contents, 4)))

    answers = {(response.status_code, response.json()["code"]) for response in responses}
    assert answers == {(422, "invalid_data"), (413, "too_large")}
    assert all(response.headers["content-type"] == "application/problem+json" for response in responses)
    assert live.get("/readyz").status_code == 200
    assert live.get("/v1/datasets").json()["data"] == []
    assert [path for path in artifacts.path("tmp").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_decompression_bomb_is_a_413(client: TestClient, pack: Any) -> None:
    bomb = pack(BOMB)
    assert len(bomb) < 100_000

    response = client.post("/v1/datasets", content=bomb)

    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert response.json()["detail"].startswith("the file decompresses to more than 100,000 bytes")


def test_a_job_on_arrays_names_their_columns(client: TestClient) -> None:
    dataset = client.post("/v1/datasets", content=npz(X=X, y=np.array(["a", "b"] * 3))).json()

    plan = client.post("/v1/jobs/plan", json={"data": {"id": dataset["id"], "target": "y"}}).json()

    assert ([i["column"] for i in plan["inputs"]], plan["classes"]) == (["x0", "x1"], ["a", "b"])
