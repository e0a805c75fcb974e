"""Data sets read from connections: files, patterns, refreshes, refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.domain.connection import EVERY_TENANT, Connection, ConnectionKind
from service.store import connections
from service.store.engine import Database
from service.store.ids import new_id

CSV = "size,color\n1,red\n2,blue\n3,red\n"
MORE = "color,size,weight\ngreen,4,0.5\nred,5,\n"


def declare(database: Database, name: str, url: str, kind: ConnectionKind, **fields: Any) -> Connection:
    declared = Connection(
        id=new_id("con"),
        name=name,
        kind=kind,
        created_at=datetime.now(UTC),
        url=url,
        **{"tenant": EVERY_TENANT, "options": {}, "secrets": {}, "allow_private": False, **fields},
    )
    with database.transaction() as connection:
        connections.add(connection, declared)
    return declared


@pytest.fixture
def lake(database: Database, tmp_path: Path) -> Path:
    """A declared folder with files."""
    folder = tmp_path / "lake"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026/a.csv").write_text(CSV)
    (folder / "2026/b.csv").write_text(MORE)
    (folder / "2026/c.txt").write_text("x")
    declare(database, "lake", folder.as_uri(), ConnectionKind.folder)
    return folder


def ask(client: TestClient | httpx2.Client, **body: Any) -> httpx2.Response:
    return client.post("/v1/datasets", json={"connection": "lake", **body})


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
