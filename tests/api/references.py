"""A declared folder, and requests for data sets from it."""

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
