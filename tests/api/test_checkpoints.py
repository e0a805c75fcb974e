"""Checkpoints: list, download, conditional and range requests, exports."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from safetensors.numpy import load
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.checkpoint import CheckpointKind
from service.serving.predictor import Predictor
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory


@pytest.fixture
def file(job_factory: JobFactory) -> tuple[str, bytes]:
    """The download URL of a best checkpoint, and its bytes."""
    claim = job_factory.running()
    data = job_factory.publish(claim, 7)
    job_factory.finish(claim)
    return f"/v1/jobs/{claim.job_id}/checkpoints/best/download", data


@both_databases
def test_the_checkpoints_of_a_job_are_listed(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    assert client.get(f"/v1/jobs/{claim.job_id}/checkpoints").json()["data"] == []
    data = job_factory.publish(claim, 3)
    job_factory.publish(claim, 5, CheckpointKind.last)

    best, last = client.get(f"/v1/jobs/{claim.job_id}/checkpoints").json()["data"]

    assert (best["kind"], best["epoch"], last["kind"], last["epoch"]) == ("best", 3, "last", 5)
    assert (best["sha256"], best["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert client.get(f"/v1/jobs/{claim.job_id}/checkpoints/last").json() == last
    assert client.get(best["download_url"]).content == data


def test_a_missing_checkpoint_is_a_404(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()

    for path in ("checkpoints/best", "checkpoints/best/download", "checkpoints/last/download?format=pt"):
        response = client.get(f"/v1/jobs/{job.id}/{path}")
        assert response.status_code == 404
        assert response.json()["detail"].startswith(f"job {job.id!r} has no ")
    assert client.get("/v1/jobs/job_0/checkpoints/best/download").json()["detail"] == "no job 'job_0'"
    assert client.get("/v1/jobs/job_0/checkpoints").status_code == 404


def test_a_download_is_the_file_with_its_hash_and_name(live: httpx2.Client, file: tuple[str, bytes]) -> None:
    path, data = file

    response = live.get(path)

    assert (response.status_code, response.content) == (200, data)
    assert response.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert response.headers["content-length"] == str(len(data))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["accept-ranges"] == "bytes"
    name = f"{path.split('/')[3]}-best-epoch7.safetensors"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert load(response.content)["layers.0.weight"].shape == (4, 8)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_head_gives_the_same_headers_without_the_file(live: httpx2.Client, file: tuple[str, bytes], kind: str) -> None:
    path, _ = file

    got, head = (live.request(method, path, params={"format": kind}) for method in ("GET", "HEAD"))

    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "content-disposition", "accept-ranges"):
        assert head.headers[name] == got.headers[name]


def test_a_pt_file_has_its_own_etag(client: TestClient, file: tuple[str, bytes]) -> None:
    path, data = file

    response = client.get(path, params={"format": "pt"})

    assert response.content == b"PK" + data
    assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    assert response.headers["content-disposition"].endswith('-best-epoch7.pt"')
    assert client.get(path, params={"format": "pt"}, headers={"Range": "bytes=0-1"}).content == b"PK"


def test_an_export_gets_the_job_and_its_history(client: TestClient, file: tuple[str, bytes]) -> None:
    path, _ = file

    response = client.get(path, params={"format": "bundle"})

    job_id = path.split("/")[3]
    assert response.text.startswith(f"{job_id} epoch,train_loss,val_loss,")
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == f'attachment; filename="{job_id}-best-epoch7.zip"'


@pytest.mark.parametrize(("kind", "status", "code"), [("onnx", 501, "not_installed"), ("pt2", 409, "conflict")])
def test_an_unavailable_export_is_a_409_or_501_with_the_reason(
    client: TestClient, file: tuple[str, bytes], kind: str, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CoinPredictor, "has_onnx", False)

    response = client.get(file[0], params={"format": kind})

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"other", {etag}', 304),
        ("*", 304),
        ('"other"', 200),
        ("{sha256}", 200),
        ("", 200),
    ],
)
def test_a_matching_if_none_match_is_a_304(
    client: TestClient, file: tuple[str, bytes], if_none_match: str, status: int
) -> None:
    path, data = file
    sha256 = hashlib.sha256(data).hexdigest()

    response = client.get(path, headers={"If-None-Match": if_none_match.format(etag=f'"{sha256}"', sha256=sha256)})

    assert response.status_code == status
    assert response.content == (b"" if status == 304 else data)
    assert response.headers["etag"] == f'"{sha256}"'


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("Bytes = 10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-5", -5, None),
        ("bytes=0-999999999", 0, None),
        ("bytes=-999999999", 0, None),
    ],
)
def test_one_range_is_a_206(live: httpx2.Client, file: tuple[str, bytes], asked: str, start: int, stop: int) -> None:
    path, data = file

    response = live.get(path, headers={"Range": asked})

    part = data[start:stop]
    first = data.index(part) if start >= 0 else len(data) + start
    assert (response.status_code, response.content) == (206, part)
    assert response.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    assert response.headers["content-length"] == str(len(part))


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=5-2", "bytes=-", "bytes=", "bytes=a-b", "lines=1-2", "bytes", "bytes=" + "9" * 5000 + "-"],
)
def test_an_unsupported_range_is_ignored(client: TestClient, file: tuple[str, bytes], asked: str) -> None:
    path, data = file

    response = client.get(path, headers={"Range": asked})

    assert (response.status_code, response.content) == (200, data)


@pytest.mark.parametrize("asked", ["bytes=100000-", "bytes=100000-100001", "bytes=-0"])
def test_a_range_outside_the_file_is_a_416(client: TestClient, file: tuple[str, bytes], asked: str) -> None:
    path, data = file

    response = client.get(path, headers={"Range": asked})

    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{len(data)}")
    assert response.json()["detail"] == f"the file has {len(data)} bytes"


@pytest.mark.parametrize(("if_range", "status"), [("{etag}", 206), ("W/{etag}", 200), ('"other"', 200)])
def test_a_download_is_resumed_only_if_the_file_is_the_same(
    client: TestClient, file: tuple[str, bytes], if_range: str, status: int
) -> None:
    path, data = file
    etag = f'"{hashlib.sha256(data).hexdigest()}"'

    response = client.get(path, headers={"Range": "bytes=10-", "If-Range": if_range.format(etag=etag)})

    assert (response.status_code, response.content) == (status, data[10:] if status == 206 else data)


def test_a_best_checkpoint_replaced_during_downloads_is_never_missing(
    live: httpx2.Client, job_factory: JobFactory
) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 1)

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(lambda: [job_factory.publish(claim, number) for number in range(2, 60)])
        while not training.done():
            response = live.get(f"/v1/jobs/{claim.job_id}/checkpoints/best/download")
            assert response.status_code == 200
            assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
        training.result()


def test_a_missing_checkpoint_file_is_a_500(client: TestClient, file: tuple[str, bytes], artifacts: Artifacts) -> None:
    path, _ = file
    artifacts.delete(client.get(path.removesuffix("/download")).json()["path"])

    response = client.get(path)

    assert (response.status_code, response.json()["code"]) == (500, "checkpoint_corrupt")
    assert response.json()["detail"] == "the best checkpoint's file cannot be read: No such file or directory"


@pytest.mark.e2e
@pytest.mark.parametrize("left", [None, b"something else"], ids=["lost", "changed"])
def test_a_missing_or_damaged_file_is_not_reported_as_a_full_disk(
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    job_factory: JobFactory,
    file: tuple[str, bytes],
    left: bytes | None,
) -> None:
    path, _ = file
    predictor = Predictor()
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        key = client.get(path.removesuffix("/download")).json()["path"]
        artifacts.delete(key) if left is None else artifacts.put(key, left)
        predict = path.replace("checkpoints/best/download", "predict")

        answers = [client.get(path, params={"format": kind}) for kind in ("pt", "bundle")]
        answers.append(client.post(predict, json={"rows": [{"x0": 1.0}]}))
        answers.append(client.post(predict, content=b"x0\n1\n", headers={"Content-Type": "text/csv"}))
    predictor.close()

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(500, "checkpoint_corrupt")] * 4
    said = "cannot be read: No such file or directory" if left is None else "has changed: its SHA-256 differs"
    assert all(answer.json()["detail"] == f"the checkpoint's file {said}" for answer in answers)


@pytest.mark.parametrize("path", ["checkpoints/state", "checkpoints/state/download"])
def test_the_training_state_is_not_served(client: TestClient, job_factory: JobFactory, path: str) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 1)
    job_factory.publish(claim, 1, CheckpointKind.state)

    problem = client.get(f"/v1/jobs/{claim.job_id}/{path}").json()

    assert (problem["status"], problem["detail"]) == (422, "kind should be 'best' or 'last'")
    listed = client.get(f"/v1/jobs/{claim.job_id}/checkpoints").json()["data"]
    assert [checkpoint["kind"] for checkpoint in listed] == ["best"]
