"""Uploads in parts: they are resumed, become data sets as ordinary uploads do, and count against the quota."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts, FolderArtifacts
from service.domain.access import Scope
from service.domain.upload import MAX_PARTS, Upload, part_bytes
from service.settings import Settings
from service.store import keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.datasets import files

PART = 64 * 1024
CSV = b"number,kind\n" + b"".join(b"%d,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(20_000))
SHA256 = hashlib.sha256(CSV).hexdigest()
ROOT = "/v1/datasets/uploads"


def client_of(settings: Settings, database: Database, artifacts: Artifacts, **changed: Any) -> TestClient:
    given = {**settings.model_dump(), "upload_part_bytes": PART, "max_upload_bytes": 10**6, **changed}
    return TestClient(create_app(Settings.model_validate(given), database, artifacts, CoinPredictor()))


@pytest.fixture
def client(settings: Settings, database: Database, artifacts: Artifacts) -> TestClient:
    return client_of(settings, database, artifacts)


def start(client: TestClient, **fields: Any) -> httpx2.Response:
    return client.post(ROOT, json={"size_bytes": len(CSV), "sha256": SHA256, **fields})


def send(client: TestClient, upload: dict[str, Any], *numbers: int, data: bytes = CSV) -> list[int]:
    """PUT these parts, or all; their statuses."""
    size = upload["part_bytes"]
    return [
        client.put(
            f"{ROOT}/{upload['id']}/parts/{part['number']}",
            content=data[(part["number"] - 1) * size : part["number"] * size],
        ).status_code
        for part in upload["parts"]
        if not numbers or part["number"] in numbers
    ]


@both_databases
def test_an_upload_in_parts_is_the_data_set_of_an_ordinary_upload(client: TestClient, artifacts: Artifacts) -> None:
    upload = start(client, name="numbers", delimiter=",").json()
    assert set(send(client, upload)) == {204}
    made = client.post(f"{ROOT}/{upload['id']}/complete")
    again = client.post(f"{ROOT}/{upload['id']}/complete")
    ordinary = client.post("/v1/datasets?delimiter=,", content=CSV)

    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/datasets/{made.json()['id']}"
    assert (made.json()["rows"], made.json()["name"], made.json()["sha256"]) == (20_000, "numbers", SHA256)
    assert [again.status_code, ordinary.status_code] == [200, 200]
    assert again.json() == ordinary.json() == made.json()
    assert files(artifacts, "uploads") == []


def test_an_upload_is_resumed_by_the_sha256_of_its_file(client: TestClient) -> None:
    begun = start(client)
    send(client, begun.json(), 1, 3)
    resumed, other_options = start(client), start(client, delimiter=",")
    upload = resumed.json()

    assert (begun.status_code, resumed.status_code, other_options.status_code) == (201, 200, 201)
    assert upload["id"] == begun.json()["id"] != other_options.json()["id"]
    assert [part["number"] for part in upload["parts"] if part["received"]] == [1, 3]
    missing = client.post(f"{ROOT}/{upload['id']}/complete")
    assert missing.status_code == 409
    assert missing.json()["detail"] == "part 2 of the upload must be sent first"
    send(client, upload, 2)
    assert client.post(f"{ROOT}/{upload['id']}/complete").json()["rows"] == 20_000


def test_bytes_that_are_a_data_set_need_not_be_sent(client: TestClient) -> None:
    known = client.post("/v1/datasets", content=CSV).json()
    upload = start(client).json()
    completed = client.post(f"{ROOT}/{upload['id']}/complete")

    assert (upload["parts"], upload["dataset_id"]) == ([], known["id"])
    assert (completed.status_code, completed.json()) == (200, known)
    refused = client.put(f"{ROOT}/{upload['id']}/parts/1", content=b"x")
    assert refused.status_code == 409


def test_wrong_parts_are_refused_and_say_why(client: TestClient) -> None:
    upload = start(client).json()
    place = f"{ROOT}/{upload['id']}/parts"
    short, long, empty = (client.put(f"{place}/1", content=b"x" * size) for size in (5, PART + 1, 0))
    absent = client.put(f"{place}/{len(upload['parts']) + 1}", content=b"x")

    assert [answer.status_code for answer in (short, long, empty, absent)] == [400, 413, 422, 404]
    assert short.json()["detail"] == "part 1 has 65,536 bytes, but the body 5"
    assert "its last one is 3" in absent.json()["detail"]
    assert not any(part["received"] for part in client.get(f"{ROOT}/{upload['id']}").json()["parts"])


def test_a_file_with_another_sha256_is_refused_and_can_be_mended(client: TestClient) -> None:
    upload = start(client).json()
    send(client, upload, data=b"x" * len(CSV))
    refused = client.post(f"{ROOT}/{upload['id']}/complete")
    send(client, upload)

    assert refused.status_code == 422
    assert refused.json()["detail"].endswith(f", not {SHA256}")
    assert client.post(f"{ROOT}/{upload['id']}/complete").status_code == 201


def test_a_file_that_is_no_table_is_refused_and_its_upload_can_be_deleted(
    client: TestClient, artifacts: Artifacts
) -> None:
    upload = client.post(ROOT, json={"size_bytes": 3}).json()
    client.put(f"{ROOT}/{upload['id']}/parts/1", content=b"\x00\x01\x02")
    assert client.post(f"{ROOT}/{upload['id']}/complete").json()["code"] == "invalid_data"
    assert [found["id"] for found in client.get(ROOT).json()["data"]] == [upload["id"]]

    assert client.delete(f"{ROOT}/{upload['id']}").status_code == 204
    gone = [client.get(f"{ROOT}/{upload['id']}"), client.delete(f"{ROOT}/{upload['id']}")]
    assert [answer.status_code for answer in gone] == [404, 404]
    assert files(artifacts, "uploads") == []


def test_a_part_of_a_wrong_size_is_deleted_and_counts_as_missing(client: TestClient, artifacts: Artifacts) -> None:
    """A presigned URL takes a body of any size."""
    upload = start(client).json()
    send(client, upload, 1)
    for number, size in ((2, PART + 1), (3, 5), (4, 5)):
        artifacts.put(f"uploads/{upload['id']}/{number:05}", b"x" * size)
    missing = client.post(f"{ROOT}/{upload['id']}/complete")

    assert missing.json()["detail"] == "parts 2, 3 of the upload must be sent first"
    assert [part.key for part in artifacts.parts()] == [f"uploads/{upload['id']}/00001"]


class MeddledArtifacts(FolderArtifacts):
    """A folder in which somebody does something just before a part is read."""

    def meddle(self, key: str) -> None:
        """Replaced by tests."""

    def chunks(self, key: str) -> Iterator[bytes]:
        self.meddle(key)
        return super().chunks(key)


@pytest.mark.parametrize("size", [0, 5, PART + 1, 10 * PART])
def test_a_part_that_is_replaced_before_it_is_joined_is_no_part_of_the_file(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    artifacts = MeddledArtifacts(tmp_path / "artifacts")
    client, joined = client_of(settings, database, artifacts), list[int]()
    upload = client.post(ROOT, json={"size_bytes": len(CSV)}).json()
    send(client, upload)

    def replace_second(key: str) -> None:
        joined.append(sum(file.stat().st_size for file in artifacts.root.glob("tmp/*/source")))
        if key.endswith("00002"):
            FolderArtifacts.put(artifacts, key, b"x" * size)

    monkeypatch.setattr(artifacts, "meddle", replace_second)
    refused = client.post(f"{ROOT}/{upload['id']}/complete")
    monkeypatch.undo()
    sent_again = send(client, upload, 2)

    assert (refused.status_code, joined[2:]) == (409, [])  # the third part was not read
    assert refused.json()["detail"].startswith("part 2 of the upload was deleted or replaced meanwhile")
    assert sent_again == [204]
    assert client.post(f"{ROOT}/{upload['id']}/complete").json()["rows"] == 20_000


@pytest.mark.parametrize("part", ["00001", "00002"])
def test_a_completion_that_another_one_overtakes_answers_with_its_data_set(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    artifacts = MeddledArtifacts(tmp_path / "artifacts")
    client, made = client_of(settings, database, artifacts), list[httpx2.Response]()
    upload = start(client).json()
    send(client, upload)

    def overtake(key: str) -> None:
        if key.endswith(part) and not made:
            made.append(httpx2.Response(0))
            made[0] = client.post(f"{ROOT}/{upload['id']}/complete")

    monkeypatch.setattr(artifacts, "meddle", overtake)
    overtaken = client.post(f"{ROOT}/{upload['id']}/complete")

    assert (made[0].status_code, overtaken.status_code) == (201, 200)
    assert overtaken.json() == made[0].json()


@pytest.mark.parametrize(
    ("body", "pointer", "status"),
    [
        ({"size_bytes": 0}, "/size_bytes", 422),
        ({"size_bytes": 10**15}, "/size_bytes", 413),
        ({}, "/size_bytes", 422),
        ({"size_bytes": 1, "sha256": "abc"}, "/sha256", 422),
        ({"size_bytes": 1, "delimeter": ";"}, "/delimeter", 422),
        ({"size_bytes": 1, "delimiter": "ab"}, "/delimiter", 422),
    ],
)
def test_a_wrong_field_is_refused_with_its_pointer(
    client: TestClient, body: dict[str, Any], pointer: str, status: int
) -> None:
    answer = client.post(ROOT, json=body)

    assert answer.status_code == status
    assert answer.json()["errors"][0]["pointer"] == pointer


@both_databases
def test_the_size_of_an_upload_counts_against_the_quota_until_it_ends(
    settings: Settings, database: Database, artifacts: Artifacts
) -> None:
    with client_of(settings, database, artifacts, max_tenant_bytes=2 * len(CSV) - 1) as client:
        first = start(client)
        refused = client.post(ROOT, json={"size_bytes": len(CSV)})
        used = client.get("/v1/usage").json()["stored"]["uploads"]
        client.delete(f"{ROOT}/{first.json()['id']}")
        second = start(client, delimiter=",")
        send(client, second.json())
        client.post(f"{ROOT}/{second.json()['id']}/complete")
        left = client.get("/v1/usage").json()["stored"]["uploads"]

    assert (first.status_code, refused.status_code, second.status_code) == (201, 413, 201)
    assert refused.json()["code"] == "quota_exceeded"
    assert (used, left) == (len(CSV), 0)


def test_uploads_belong_to_their_tenant_and_need_the_scope_submit(client: TestClient, database: Database) -> None:
    headers = {}
    with database.transaction() as connection:
        for tenant, scope in (("mine", Scope.submit), ("other", Scope.submit), ("mine", Scope.read)):
            headers[tenant, scope] = {"Authorization": f"Bearer {keys.create(connection, tenant, scope)[1]}"}
    body = {"size_bytes": len(CSV), "sha256": SHA256}
    mine = client.post(ROOT, json=body, headers=headers["mine", Scope.submit]).json()
    place, other = f"{ROOT}/{mine['id']}", headers["other", Scope.submit]

    hidden = [
        client.get(place, headers=other),
        client.put(f"{place}/parts/1", content=b"x", headers=other),
        client.post(f"{place}/complete", headers=other),
        client.delete(place, headers=other),
    ]
    assert [answer.status_code for answer in hidden] == [404] * 4
    assert client.get(ROOT, headers=other).json()["data"] == []
    assert client.post(ROOT, json=body, headers=other).json()["id"] != mine["id"]
    assert client.get(place, headers=headers["mine", Scope.read]).status_code == 403


def test_a_tenant_has_a_bounded_number_of_uploads(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.routes.dataset_uploads.MAX_INCOMPLETE", 2)
    answers = [client.post(ROOT, json={"size_bytes": 1}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 409]


@given(size=st.integers(1, 10**13), smallest=st.integers(64 * 1024, 2**30))
def test_parts_cover_the_file_and_are_few(size: int, smallest: int) -> None:
    fields = {"name": None, "sha256": None, "options": {}, "dataset_id": None, "id": "up_1"}
    times = {"created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}
    upload = Upload.model_validate({**fields, **times, "size_bytes": size, "part_bytes": part_bytes(size, smallest)})
    sizes = list(upload.part_sizes.values())

    assert sum(sizes) == size
    assert len(sizes) <= MAX_PARTS
    assert min(sizes) > 0
    assert set(sizes[:-1]) <= {upload.part_bytes}
