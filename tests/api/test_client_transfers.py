"""The Python client sends large files in parts and resumes them; the object store never sees an API key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bestepoch import ApiError, Client
from service.api.app import create_app
from service.artifacts import Artifacts, sha256_of
from service.client import upload_parts
from service.client.downloads import DamagedDownload
from service.domain.access import Scope
from service.domain.checkpoint import CheckpointKind
from service.settings import Settings
from service.store import checkpoints, keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving
from tests.api.datasets import files
from tests.api.job_factory import JobFactory
from tests.artifacts.http_store import ArtifactsWithUrls, HttpStore, http_store

PART = 256 * 1024
CSV = b"number,kind\n" + b"".join(b"%d,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(150_000))
PARTS = -(-len(CSV) // PART)


@contextmanager
def client_of(settings: Settings, database: Database, artifacts: Artifacts, **changed: Any) -> Iterator[Client]:
    """A client with an API key, of a service that wants parts."""
    given = {**settings.model_dump(), "upload_part_bytes": PART, "max_upload_bytes": 10**7, **changed}
    app = create_app(Settings.model_validate(given), database, artifacts, CoinPredictor())
    with database.transaction() as connection:
        key = keys.create(connection, "default", Scope.submit)[1]
    with serving(app) as (_, url), Client(url, key, tries=2) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.csv"
    path.write_bytes(CSV)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HttpStore]:
    with http_store(tmp_path / "objects") as server:
        yield server


def located(database: Database, job_id: str) -> str:
    with database.reading() as connection:
        return checkpoints.get(connection, job_id, CheckpointKind.best).path


class Interrupted(BaseException):
    """The client ends here."""


def interrupt_after(number: int, sent: list[int]) -> Any:
    def advance(size: int) -> None:
        sent.append(size)
        if len(sent) == number:
            raise Interrupted

    return advance


def test_a_large_file_is_sent_in_parts_and_resumed_by_another_client(
    settings: Settings, database: Database, artifacts: Artifacts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(settings, database, artifacts) as client:
        with pytest.raises(Interrupted):
            upload_parts.upload_in_parts(client._transport, file, {"name": file.name}, interrupt_after(3, []))
        assert len(files(artifacts, "uploads")) == 3
    put = list[str]()
    with client_of(settings, database, artifacts) as client:
        request = client._transport.request

        def recorded(method: str, path: str, **options: Any) -> Any:
            put.extend([path] if method == "PUT" else [])
            return request(method, path, **options)

        monkeypatch.setattr(client._transport, "request", recorded)
        dataset = client.upload(file)
        assert client.upload(CSV).id == dataset.id

    assert len(put) == PARTS - 3
    assert (dataset.rows, dataset.name, dataset.source_bytes) == (150_000, "numbers.csv", len(CSV))
    assert files(artifacts, "uploads") == []


@pytest.mark.parametrize("transfers", ["proxy", "presigned", "expired"])
def test_two_clients_upload_the_same_file_at_once(
    settings: Settings, database: Database, store: HttpStore, file: Path, transfers: str
) -> None:
    """The second one is done when the first has sent three parts; `expired`: and so are the URLs of the first."""
    made, sent = list[Any](), list[int]()
    way = "proxy" if transfers == "proxy" else "presigned"
    with client_of(settings, database, ArtifactsWithUrls(store), transfers=way) as client:

        def overtake(size: int) -> None:
            sent.append(size)
            if len(sent) == 3:
                made.append(client.upload(file))
                store.refuses = transfers == "expired"

        answer = upload_parts.upload_in_parts(client._transport, file, {"name": file.name}, overtake)

    assert answer["id"] == made[0].id
    assert sum(sent) in (3 * PART, len(CSV))


def test_a_file_is_uploaded_although_another_client_deletes_the_upload(
    settings: Settings, database: Database, artifacts: Artifacts, file: Path
) -> None:
    sent = list[int]()
    with client_of(settings, database, artifacts) as client:

        def delete(size: int) -> None:
            sent.append(size)
            if len(sent) == 3:
                (begun,) = client._transport.json("GET", upload_parts.UPLOADS)["data"]
                client._transport.delete(f"{upload_parts.UPLOADS}/{begun['id']}")

        answer = upload_parts.upload_in_parts(client._transport, file, {"name": file.name}, delete)

    assert (answer["rows"], sum(sent)) == (150_000, len(CSV))


def test_parts_go_to_the_object_store_without_the_api_key(
    settings: Settings, database: Database, store: HttpStore, file: Path
) -> None:
    with client_of(settings, database, ArtifactsWithUrls(store), transfers="presigned") as client:
        dataset = client.upload(file, null=["?"])

    assert dataset.rows == 150_000
    assert [method for method, _ in store.requests] == ["PUT"] * PARTS
    assert not any("authorization" in map(str.lower, headers) for _, headers in store.requests)


def test_parts_go_to_the_service_where_the_object_store_refuses_them(
    settings: Settings, database: Database, store: HttpStore, file: Path
) -> None:
    store.refuses = True
    with client_of(settings, database, ArtifactsWithUrls(store), transfers="presigned") as client:
        assert client.upload(file).rows == 150_000

    assert [method for method, _ in store.requests] == ["PUT", "PUT"]  # the second one by a new URL


def test_a_file_that_is_refused_leaves_no_upload(
    settings: Settings, database: Database, artifacts: Artifacts, file: Path
) -> None:
    file.write_bytes(b"\x00\x01" * 800_000)
    with client_of(settings, database, artifacts) as client:
        with pytest.raises(ApiError) as refused:
            client.upload(file)
        assert client.usage()["stored"]["uploads"] == 0

    assert refused.value.code == "invalid_data"
    assert files(artifacts, "uploads") == []


def test_downloads_come_from_the_object_store_without_the_api_key(
    settings: Settings, database: Database, store: HttpStore, file: Path, tmp_path: Path
) -> None:
    artifacts = ArtifactsWithUrls(store)
    job_id = JobFactory(database, artifacts).trained().job_id
    with client_of(settings, database, artifacts, transfers="presigned") as client:
        job, dataset = client.job(job_id), client.upload(file)
        store.requests.clear()
        saved = client.download_dataset(dataset, tmp_path)
        checkpoint = job.download(tmp_path)

    assert [method for method, _ in store.requests] == ["GET", "GET"]
    assert not any("authorization" in map(str.lower, headers) for _, headers in store.requests)
    assert sha256_of(saved) == dataset.parquet_sha256
    assert job.state.best is not None
    assert checkpoint.read_bytes() == artifacts.path(located(database, job_id)).read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_a_damaged_download_is_refused(
    settings: Settings, database: Database, store: HttpStore, file: Path, tmp_path: Path
) -> None:
    store.damages = True
    with client_of(settings, database, ArtifactsWithUrls(store), transfers="presigned") as client:
        dataset = client.upload(file)
        with pytest.raises(DamagedDownload, match=dataset.parquet_sha256):
            client.download_dataset(dataset, tmp_path / "table.parquet")

    assert not (tmp_path / "table.parquet").exists()


def test_redirects_keep_etags_and_ranges(settings: Settings, database: Database, store: HttpStore, file: Path) -> None:
    with client_of(settings, database, ArtifactsWithUrls(store), transfers="presigned") as client:
        dataset = client.upload(file)
        http, path = client._transport.http, f"/v1/datasets/{dataset.id}/download"
        redirect = http.get(path)
        unchanged = http.get(path, headers={"If-None-Match": redirect.headers["etag"]})
        head = http.head(path)
        part = httpx2.get(redirect.headers["location"], headers={"Range": "bytes=4-9"})
        proxied = [
            http.get(path, headers={"Range": "bytes=4-9", "If-Range": redirect.headers["etag"]}),
            http.get(path, headers={"Range": "bytes=4-9", "Sec-Fetch-Mode": "cors"}),
        ]

    assert redirect.status_code == 307
    assert redirect.headers["etag"] == f'"{dataset.parquet_sha256}"'
    assert redirect.headers["location"].startswith(store.url)
    assert unchanged.status_code == 304
    assert (head.status_code, int(head.headers["content-length"])) == (200, dataset.parquet_bytes)
    assert [(answer.status_code, answer.content) for answer in (part, *proxied)] == [(206, part.content)] * 3


def test_a_missing_file_is_a_problem_of_the_service_and_no_redirect(
    settings: Settings, database: Database, store: HttpStore, file: Path
) -> None:
    artifacts = ArtifactsWithUrls(store)
    with client_of(settings, database, artifacts, transfers="presigned") as client:
        dataset = client.upload(file)
        artifacts.delete(f"datasets/{dataset.id}/data.parquet")
        answer = client._transport.http.get(f"/v1/datasets/{dataset.id}/download")

    assert (answer.status_code, answer.json()["code"]) == (500, "dataset_corrupt")


def test_a_download_is_resumed_where_the_connection_broke(
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = list[str | None]()
    with client_of(settings, database, artifacts) as client:
        dataset = client.upload(file)
        stream_file = client._transport.stream_file

        @contextmanager
        def breaking(path: str, **options: Any) -> Iterator[Any]:
            begun.append(options["headers"].get("Range"))
            with stream_file(path, **options) as (response, headers):
                if len(begun) == 1:
                    monkeypatch.setattr(response, "iter_raw", partial(broken, response.iter_raw()))
                yield response, headers

        def broken(chunks: Iterator[bytes]) -> Iterator[bytes]:
            yield next(chunks)[:1000]
            raise httpx2.ReadError("the connection broke")

        monkeypatch.setattr(client._transport, "stream_file", breaking)
        saved = client.download_dataset(dataset, tmp_path / "table.parquet")

    assert begun == [None, "bytes=1000-"]
    assert sha256_of(saved) == dataset.parquet_sha256
