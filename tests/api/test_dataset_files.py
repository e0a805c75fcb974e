"""Downloads of data sets, and the quota of all data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.datasets import files, upload


def test_a_data_set_downloads_as_its_stored_parquet_file(client: TestClient, artifacts: Artifacts) -> None:
    dataset = upload(client).json()
    url = f"/v1/datasets/{dataset['id']}/download"

    whole = client.get(url)
    rest = client.get(url, headers={"Range": "bytes=4-", "If-Range": whole.headers["etag"]})
    head = client.head(url)

    assert (whole.status_code, whole.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    assert whole.headers["content-disposition"] == f'attachment; filename="{dataset["id"]}.parquet"'
    assert whole.headers["etag"] == f'"{dataset["parquet_sha256"]}"'
    assert hashlib.sha256(whole.content).hexdigest() == dataset["parquet_sha256"]
    assert (rest.status_code, rest.content) == (206, whole.content[4:])
    assert (head.headers["content-length"], head.content) == (str(len(whole.content)), b"")
    assert client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert client.get(url, headers={"Range": "bytes=9999999-"}).status_code == 416


@both_databases
def test_a_page_with_columns_is_limited_in_bytes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [upload(client, b"a,b\n%d,x\n" % i).json() for i in range(4)][::-1]
    size = len(json.dumps(stored[0]["columns"]))
    monkeypatch.setattr("service.api.routes.datasets.PAGE_BYTES", 2 * size + size // 2)

    page = client.get("/v1/datasets?columns=true").json()
    rest = client.get(f"/v1/datasets?columns=true&after={page['next']}").json()
    monkeypatch.setattr("service.api.routes.datasets.PAGE_BYTES", 1)
    one = client.get("/v1/datasets?columns=true&limit=3").json()

    assert (page["data"], page["has_more"], page["next"]) == (stored[:2], True, stored[1]["id"])
    assert (rest["data"], rest["has_more"], rest["next"]) == (stored[2:], False, None)
    assert (one["data"], one["has_more"]) == (stored[:1], True)


def test_a_download_can_be_uploaded_again(client: TestClient) -> None:
    dataset = upload(client).json()

    again = upload(client, client.get(f"/v1/datasets/{dataset['id']}/download").content).json()

    assert again["columns"] == dataset["columns"]


def test_a_data_set_downloads_as_csv_with_the_same_bytes_every_time(client: TestClient, artifacts: Artifacts) -> None:
    url = f"/v1/datasets/{upload(client).json()['id']}/download?format=csv"

    whole = client.get(url)
    rest = client.get(url, headers={"Range": "bytes=10-", "If-Range": whole.headers["etag"]})

    assert whole.text == (
        "size,kind,seen,ok\n1.5,a,2024-01-02 00:00:00,true\n2.5,b,2024-01-03 00:00:00,false\n"
        ",a,2024-01-04 00:00:00,true\n"
    )
    assert whole.headers["content-type"].startswith("text/csv")
    assert (rest.status_code, rest.content) == (206, whole.content[10:])
    assert files(artifacts, "tmp") == []


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_missing_data_set_cannot_be_downloaded(client: TestClient, artifacts: Artifacts, kind: str) -> None:
    dataset = upload(client).json()
    artifacts.delete(f"datasets/{dataset['id']}/data.parquet")

    lost = client.get(f"/v1/datasets/{dataset['id']}/download?format={kind}")

    assert (lost.status_code, lost.json()["code"]) == (500, "dataset_corrupt")
    assert client.get(f"/v1/datasets/ds_0/download?format={kind}").status_code == 404


@pytest.fixture
def tight(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    """A service with a quota of 12,000 bytes for data sets: enough for one, not for two."""
    narrow = settings.model_copy(update={"max_dataset_bytes": 12_000})
    with TestClient(create_app(narrow, database, artifacts, CoinPredictor())) as client:
        yield client


def large(value: int) -> bytes:
    return b"x,y\n" + b"".join(b"%d,%d\n" % (i * value % 997, i) for i in range(120))


def test_an_upload_over_the_data_set_quota_is_refused_until_one_is_deleted(
    tight: TestClient, artifacts: Artifacts
) -> None:
    first = upload(tight, large(7)).json()
    assert 6_000 < first["parquet_bytes"] + len(json.dumps(first["columns"])) < 12_000

    refused, known = upload(tight, large(11)), upload(tight, large(7))
    kept = files(artifacts, "datasets")
    tight.delete(f"/v1/datasets/{first['id']}")

    assert (refused.status_code, refused.json()["code"]) == (413, "quota_exceeded")
    assert "exceed the quota of 12,000 bytes: delete some" in refused.json()["detail"]
    assert (known.status_code, len(kept), files(artifacts, "tmp")) == (200, 1, [])
    assert upload(tight, large(11)).status_code == 201


def test_concurrent_uploads_of_the_same_bytes_count_once_against_the_quota(
    tight: TestClient, artifacts: Artifacts
) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: upload(tight, large(7)), range(2)))

    assert sorted(response.status_code for response in both) == [200, 201]
    assert len(files(artifacts, "datasets")) == 1
