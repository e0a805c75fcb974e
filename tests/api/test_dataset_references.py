"""Data sets read from connections: files, patterns, refusals."""

from __future__ import annotations

import gzip
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.artifacts import Artifacts
from service.domain.access import Scope
from service.domain.connection import ConnectionKind
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.datasets import files
from tests.api.operations import Maker, key
from tests.api.references import CSV, ask, declare, lake
from tests.api.test_dataset_uploads import wait_until

__all__ = ["key", "lake"]


def test_a_file_by_reference_is_the_same_table_as_its_upload(client: TestClient, lake: Path) -> None:
    uploaded = client.post("/v1/datasets", content=CSV.encode()).json()

    response = ask(client, path="2026/a.csv", name="shoes")

    read = response.json()
    assert response.status_code == 201, read
    assert response.headers["location"] == f"/v1/datasets/{read['id']}"
    own = {"id", "name", "created_at", "connection", "provenance"}
    assert {k: v for k, v in read.items() if k not in own} == {k: v for k, v in uploaded.items() if k not in own}
    assert (read["name"], read["connection"], read["version"]) == ("shoes", "lake", 1)
    [found] = read["provenance"]["objects"]
    assert (found["path"], found["size_bytes"], found["sha256"]) == ("2026/a.csv", len(CSV), read["sha256"])
    assert read["provenance"]["path"] == "2026/a.csv"
    assert client.get(f"/v1/datasets/{read['id']}").json() == read


def test_a_pattern_reads_its_files_as_one_table(client: TestClient, lake: Path) -> None:
    read = ask(client, path="2026/*.csv").json()

    rows = client.get(f"/v1/datasets/{read['id']}/preview").json()["data"]
    assert [list(row.values()) for row in rows] == [
        [1, "red", None], [2, "blue", None], [3, "red", None], [4, "green", 0.5], [5, "red", None]
    ]  # fmt: skip
    assert read["warnings"][0] == "column 'weight' is missing in 1 of 2 files: '2026/a.csv'"
    assert [each["path"] for each in read["provenance"]["objects"]] == ["2026/a.csv", "2026/b.csv"]


def test_other_formats_are_read_together_too(client: TestClient, lake: Path) -> None:
    (lake / "a.jsonl").write_text('{"a": 1, "b": null}\n{"a": 2, "b": null}\n')
    with gzip.open(lake / "b.jsonl", "wt") as file:
        file.write('{"b": 2.5, "a": 3}\n')

    read = ask(client, path="*.jsonl").json()

    types = {column["name"]: column["type"] for column in read["columns"]}
    assert (read["rows"], types, read["read_as"]["format"]) == (3, {"a": "integer", "b": "number"}, "jsonl")


def test_files_of_different_formats_are_refused_with_their_names(client: TestClient, lake: Path) -> None:
    (lake / "2026/d.csv").write_text('{"a": 1}\n')
    response = ask(client, path="2026/*.csv")

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert "2026/a.csv is csv, but 2026/d.csv is jsonl" in response.json()["detail"]


def test_a_damaged_file_is_named(client: TestClient, lake: Path) -> None:
    (lake / "2026/b.csv").write_text("size,color\n1,2,3,4\n5,6\n")

    response = ask(client, path="2026/*.csv")

    assert response.status_code == 422
    assert response.json()["detail"].startswith("2026/b.csv: ")


def test_read_options_apply_to_every_file(client: TestClient, lake: Path) -> None:
    for name in ("x", "y"):
        (lake / f"{name}.txt").write_text("a;b\n1,5;-\n2,5;3\n")

    read = ask(client, path="*.txt", delimiter=";", decimal=",", null=["-"]).json()

    assert [column["type"] for column in read["columns"]] == ["number", "integer"]
    assert (read["rows"], read["null_values"]) == (4, ["-"])


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"path": "x", "query": "SELECT 1"}, "/query", "should be absent"),
        ({}, "/path", "is required"),
        ({"path": "../x"}, "/path", "should be relative"),
        ({"path": "s3://bucket/x"}, "/path", "should be relative to the connection"),
        ({"query": "SELECT 1"}, "/query", "should be a path"),
        ({"path": "gone.csv"}, "/path", "there is no file 'gone.csv'"),
        ({"path": "*.xyz"}, "/path", "no file matches"),
        ({"path": "x", "connection": "leak"}, "/connection", "is unknown; declared connections: 'lake'"),
        ({"path": "x", "connection": "http://169.254.169.254"}, "/connection", "match pattern"),
        ({"path": "x", "url": "http://127.0.0.1"}, "/url", "unknown field"),
        ({"path": "x", "delimter": ";"}, "/delimter", "did you mean `delimiter`?"),
        ({"path": "x", "format": "xlsx"}, "/format", "should be"),
    ],
)
def test_a_fault_is_named_by_its_pointer(
    client: TestClient, lake: Path, body: dict[str, Any], pointer: str, message: str
) -> None:
    response = ask(client, **body)

    [error] = response.json()["errors"]
    assert (response.status_code, error["pointer"]) == (422, pointer), error
    assert message in error["message"]
    assert client.get("/v1/datasets").json()["data"] == []


def test_options_in_the_query_string_are_refused(client: TestClient, lake: Path) -> None:
    response = client.post("/v1/datasets?name=x", json={"connection": "lake", "path": "2026/a.csv"})

    assert response.status_code == 422
    assert "in the body" in response.json()["detail"]


@pytest.mark.parametrize("content", [b'{"a": 1}\n{"a": 2}\n', b"a,b\n1,2\n"])
def test_a_file_that_is_sent_as_json_is_an_upload_as_before(client: TestClient, content: bytes) -> None:
    response = client.post("/v1/datasets", content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["provenance"]) == (201, None)


def test_a_large_file_that_is_sent_as_json_is_received_whole(live: httpx2.Client) -> None:
    content = b"".join(b'{"a": %d}\n' % number for number in range(8_000))

    response = live.post("/v1/datasets", content=iter([content[:50_000], content[50_000:]]),
                         headers={"Content-Type": "application/json"})  # fmt: skip

    assert (response.status_code, response.json()["rows"]) == (201, 8_000)


@both_databases
def test_a_repeated_request_reads_nothing_again(client: TestClient, lake: Path) -> None:
    def send(path: str, key: str) -> httpx2.Response:
        return client.post("/v1/datasets", json={"connection": "lake", "path": path}, headers={"Idempotency-Key": key})

    first = send("2026/a.csv", "one")
    (lake / "2026/a.csv").unlink()

    again, other = send("2026/a.csv", "one"), send("2026/b.csv", "one")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@both_databases
def test_the_same_reference_five_times_at_once_is_one_data_set(live: httpx2.Client, lake: Path) -> None:
    with ThreadPoolExecutor(5) as pool:
        responses = list(pool.map(lambda _: ask(live, path="2026/a.csv"), range(5)))

    assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 201]
    assert len({response.json()["id"] for response in responses}) == 1


def test_files_beyond_the_limit_or_the_quota_are_413(
    client: TestClient, lake: Path, settings: Settings, artifacts: Artifacts
) -> None:
    (lake / "large.csv").write_bytes(b"a\n" + b"1\n" * (settings.max_upload_bytes // 2))

    response = ask(client, path="large.csv")

    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert files(artifacts, "tmp") == []


def test_a_secret_that_cannot_be_read_is_a_424_and_in_the_log(
    client: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {"access_key_id": "env:NO_SUCH_VARIABLE", "secret_access_key": "env:NO_SUCH_VARIABLE"}
    declare(database, "far", "s3://bucket", ConnectionKind.s3, secrets=secrets)

    response = client.post("/v1/datasets", json={"connection": "far", "path": "a.csv"})

    assert (response.status_code, response.json()["code"]) == (424, "source_failed")
    assert "the secret access_key_id of the connection cannot be read" in response.json()["detail"]
    assert "NO_SUCH_VARIABLE" not in response.text
    assert "the environment variable NO_SUCH_VARIABLE is not set" in caplog.text


@both_databases
def test_tenants_see_their_connections_and_those_of_all(
    client: TestClient, database: Database, lake: Path, tmp_path: Path, key: Maker
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.csv").write_text("a\n1\n2\n")
    declare(database, "ours", own.as_uri(), ConnectionKind.folder, tenant="ours")
    declare(database, "lake", own.as_uri(), ConnectionKind.folder, tenant="ours")
    headers = {name: {"Authorization": f"Bearer {key(name, Scope.submit)}"} for name in ("ours", "theirs")}

    listed = {
        name: [(each["name"], each["kind"]) for each in client.get("/v1/connections", headers=sent).json()["data"]]
        for name, sent in headers.items()
    }
    read = client.post("/v1/datasets", json={"connection": "lake", "path": "a.csv"}, headers=headers["ours"])
    refused = client.post("/v1/datasets", json={"connection": "ours", "path": "a.csv"}, headers=headers["theirs"])

    assert listed == {
        "ours": [("lake", "folder"), ("ours", "folder"), ("lake", "folder")],
        "theirs": [("lake", "folder")],
    }
    assert read.status_code == 201, "a tenant's own connection goes before one of all"
    assert refused.json()["errors"][0]["pointer"] == "/connection"


def test_nothing_of_a_connection_but_name_and_kind_is_served(client: TestClient, lake: Path) -> None:
    [listed] = client.get("/v1/connections").json()["data"]

    assert set(listed) == {"id", "object", "name", "kind", "created_at"}
    assert str(lake) not in client.get("/v1/connections").text


def test_a_client_that_leaves_stops_the_reading(live: httpx2.Client, database: Database, artifacts: Artifacts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        declare(database, "slow", url, ConnectionKind.https, allow_private=True)
        body = b'{"connection": "slow", "path": "a.csv"}'
        head = f"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
            f"Content-Length: {len(body)}\r\n\r\n".encode()  # fmt: skip
        with socket.create_connection((live.base_url.host, live.base_url.port)) as connection:
            connection.sendall(head + body)
            silent.settimeout(20)
            answering, _ = silent.accept()
            assert artifacts.unfinished() != []

        wait_until(lambda: artifacts.unfinished() == [])
        answering.close()
