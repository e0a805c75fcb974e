"""Uploads in parts to S3 and downloads from it by presigned URLs; a deployment that moves from a folder to S3."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest

from bestepoch import Client
from service.api.app import create_app
from service.artifacts import Artifacts, ArtifactsConfig, FolderArtifacts, open_artifacts, sha256_of
from service.domain.access import Scope
from service.maintenance.artifact_copy import ArtifactCopier
from service.maintenance.deployment_id import check, pair
from service.maintenance.uploads import collect_uploads
from service.settings import Settings
from service.store import keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving
from tests.object_store import BUCKET, FaultProxy

PART = 1024**2
CSV = b"number,kind\n" + b"".join(b"%d,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(400_000))


@pytest.fixture
def store(proxy: FaultProxy, tmp_path: Path) -> Artifacts:
    return open_artifacts(ArtifactsConfig(tmp_path / "cache", f"s3://{BUCKET}/{secrets.token_hex(8)}", None, 2**30))


@contextmanager
def client_of(tmp_path: Path, database: Database, artifacts: Artifacts, **fields: Any) -> Iterator[Client]:
    given = {"home": tmp_path, "upload_part_bytes": PART, "transfers": "presigned", **fields}
    app = create_app(Settings.model_validate(given), database, artifacts, CoinPredictor())
    with database.transaction() as connection:
        key = keys.create(connection, "default", Scope.admin)[1]
    with serving(app) as (_, url), Client(url, key, tries=3) as client:
        yield client


@pytest.mark.parametrize("transfers", ["presigned", "proxy"])
def test_a_file_goes_to_s3_and_comes_back(tmp_path: Path, database: Database, store: Artifacts, transfers: str) -> None:
    file = tmp_path / "numbers.csv"
    file.write_bytes(CSV)
    with client_of(tmp_path, database, store, transfers=transfers) as client:
        upload = client._transport.json("POST", "/v1/datasets/uploads", json={"size_bytes": len(CSV)})
        assert all((part["url"] is not None) == (transfers == "presigned") for part in upload["parts"])
        dataset = client.upload(file)
        saved = client.download_dataset(dataset, tmp_path)
        client._transport.delete(f"/v1/datasets/uploads/{upload['id']}")

    assert (dataset.rows, dataset.source_bytes) == (400_000, len(CSV))
    assert sha256_of(saved) == dataset.parquet_sha256
    assert list(store.parts()) == []


def test_a_part_is_put_by_its_url_without_credentials(tmp_path: Path, database: Database, store: Artifacts) -> None:
    with client_of(tmp_path, database, store) as client:
        upload = client._transport.json("POST", "/v1/datasets/uploads", json={"size_bytes": PART + 1})
        place = f"/v1/datasets/uploads/{upload['id']}"
        for part, body in zip(upload["parts"], (b"x" * PART, b"too long"), strict=True):
            assert httpx2.put(part["url"], content=body).status_code == 200
        received = [part["received"] for part in client._transport.json("GET", place)["parts"]]
    with database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM uploads")

    assert received == [True, False]
    assert collect_uploads(database, store, Event()) == 1  # the other was deleted when it was seen
    assert list(store.parts()) == []


def test_a_deployment_moves_from_a_folder_to_s3_while_it_runs(
    tmp_path: Path, database: Database, store: Artifacts
) -> None:
    """The sequence of docs/how-to/move-artifacts.md."""
    folder = FolderArtifacts(tmp_path / "artifacts")
    pair(database, folder)
    with client_of(tmp_path, database, folder) as client:
        first = client.upload(CSV)
        assert ArtifactCopier(database, folder, store).copy().copied == 1
        second = client.upload(CSV, null=["7"])  # meanwhile
    assert ArtifactCopier(database, folder, store).copy().copied == 1
    assert ArtifactCopier(database, folder, store).copy(verify=True).copied == 0
    check(database, store)
    with client_of(tmp_path, database, store) as client:
        for dataset in (first, second):
            saved = client.download_dataset(dataset, tmp_path)
            assert sha256_of(saved) == dataset.parquet_sha256
