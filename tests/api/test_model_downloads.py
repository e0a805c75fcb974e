"""Downloads of a published model: exports, weights of members, the model card."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.api.test_models import publish, published


@pytest.fixture
def versions(client: TestClient, job_factory: JobFactory) -> list[Any]:
    """Version 1 of one job; version 2 of two, `next`."""
    ids = [job_factory.trained(epochs=epochs).job_id for epochs in (4, 5)]
    members = [{"job": ids[0], "weight": 3}, {"job": ids[1]}]
    return [published(client, job_factory), publish(client, {"members": members}, alias="next").json()]


@both_databases
@pytest.mark.parametrize(
    ("address", "number", "alias"),
    [("churn", 1, "champion"), ("churn@next", 2, "next"), ("churn:2", 2, None)],
)
def test_a_version_is_downloaded_as_one_file(
    client: TestClient, versions: list[Any], address: str, number: int, alias: str | None
) -> None:
    version = versions[number - 1]

    response = client.get(f"/v1/models/{address}/download")
    head = client.head(f"/v1/models/{address}/download")
    raw = client.get(f"/v1/models/{address}/download?calibrated=false")
    card = client.get(f"/v1/models/{address}/card")

    members = [(member["sha256"], member["weight"]) for member in version["members"]]
    assert response.text == f"churn:{number} {members} True"
    assert raw.text == f"churn:{number} {members} False"
    assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
    assert response.headers["content-disposition"] == f'attachment; filename="churn-{number}.zip"'
    assert raw.headers["content-disposition"] == f'attachment; filename="churn-{number}-raw.zip"'
    assert response.headers["content-type"] == "application/zip"
    assert card.text == f"# churn, version {number} of {len(members)}\n"
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    for answer in (response, head, card):
        named = [answer.headers.get(f"model-{name}") for name in ("name", "version", "alias")]
        assert named == ["churn", str(number), alias]


@both_databases
def test_the_weights_of_a_member_outlive_its_job(client: TestClient, job_factory: JobFactory) -> None:
    version = published(client, job_factory)
    [member] = version["members"]
    weights = client.get(f"/v1/jobs/{member['job']}/checkpoints/best/download")
    assert client.delete(f"/v1/jobs/{member['job']}").status_code == 204

    response = client.get(f"/v1/models/churn/members/{member['job']}/download")
    pt = client.get(f"/v1/models/churn:1/members/{member['job']}/download?format=pt")

    assert response.content == weights.content
    assert response.headers["etag"] == f'"{member["sha256"]}"'
    name = f"churn-1-{member['job']}"
    assert response.headers["content-disposition"] == f'attachment; filename="{name}.safetensors"'
    assert pt.content == b"PK" + weights.content
    assert pt.headers["content-disposition"] == f'attachment; filename="{name}.pt"'
    assert pt.headers["model-version"] == "1"


def test_an_unchanged_version_is_not_sent_again_and_a_part_is_sent_alone(
    client: TestClient, versions: list[Any]
) -> None:
    whole = client.get("/v1/models/churn/download")
    etag = whole.headers["etag"]

    again = client.get("/v1/models/churn/download", headers={"If-None-Match": etag})
    part = client.get("/v1/models/churn/download", headers={"Range": "bytes=2-", "If-Range": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert (part.status_code, part.content) == (206, whole.content[2:])


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("none/download", 404, "no model 'none'"),
        ("churn@none/card", 404, "the model 'churn' has no alias 'none'"),
        ("churn:9/download", 404, "the model 'churn' has no version 9"),
        ("churn:2/members/job_0/download", 404, "version 2 of the model 'churn' has no member of the job 'job_0'"),
        ("churn/download?format=pt2", 409, "it differs"),
        ("churn/download?format=pt", 422, "format should be 'bundle', 'onnx' or 'pt2'"),
        ("churn/members/job_0/download?format=onnx", 422, "format should be 'safetensors' or 'pt'"),
        ("Churn/download", 422, "model should be NAME, NAME@ALIAS or NAME:VERSION"),
    ],
)
def test_what_cannot_be_downloaded_is_refused_in_words(
    client: TestClient, versions: list[Any], path: str, status: int, detail: str
) -> None:
    response = client.get(f"/v1/models/{path}")

    assert response.status_code == status
    assert response.json()["detail"] == detail


def test_a_missing_file_of_a_member_is_an_error_of_the_server(client: TestClient, job_factory: JobFactory) -> None:
    [member] = published(client, job_factory)["members"]
    for file in job_factory.artifacts.root.rglob("*"):
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == member["sha256"]:
            file.unlink()

    response = client.get(f"/v1/models/churn/members/{member['job']}/download")

    assert (response.status_code, response.json()["code"]) == (500, "checkpoint_corrupt")
