"""Published models: versions of jobs and sweeps, what they keep, and what refuses them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.status import Status
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory, weights

COLUMN = "column 'x0' as another type, or with other null values, than the ones before"


def publish(client: TestClient, source: dict[str, Any], name: str = "churn", **fields: Any) -> Any:
    return client.post("/v1/models", json={"name": name, "from": source, **fields})


def published(client: TestClient, job_factory: JobFactory, name: str = "churn", **fields: Any) -> Any:
    """A version of a new job."""
    response = publish(client, {"job": job_factory.trained().job_id}, name, **fields)
    assert response.status_code == 201, response.text
    return response.json()


@both_databases
def test_a_job_becomes_version_1_and_champion(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained(epochs=3, name="a job").job_id

    response = publish(client, {"job": job_id}, description="the first")

    version = response.json()
    best = client.get(f"/v1/jobs/{job_id}/checkpoints/best").json()
    (member,) = version["members"]
    assert (response.status_code, response.headers["location"]) == (201, "/v1/models/churn/versions/1")
    assert client.get("/v1/models/churn/versions/1").json() == version
    assert (version["model"], version["version"], version["aliases"]) == ("churn", 1, ["champion"])
    assert (version["from"]["job"], version["description"]) == (job_id, "the first")
    assert (version["task"], version["target"], version["features"]) == ("regression", "y", ["x0", "x1"])
    assert (member["job"], member["weight"], member["epoch"]) == (job_id, 1.0, 3)
    assert (member["sha256"], member["size_bytes"]) == (best["sha256"], best["size_bytes"])
    assert member["spec"] == client.get(f"/v1/jobs/{job_id}").json()["spec"]
    assert version["created_by"] == {"key": None, "name": None}
    model = client.get("/v1/models/churn").json()
    assert (model["versions"], model["latest"]) == (1, 1)
    assert [(alias["alias"], alias["version"], alias["previous"]) for alias in model["aliases"]] == [
        ("champion", 1, None)
    ]


@both_databases
def test_later_versions_are_numbered_and_leave_champion(client: TestClient, job_factory: JobFactory) -> None:
    published(client, job_factory)
    second = published(client, job_factory)
    third = published(client, job_factory, alias="challenger")

    assert [second["version"], second["aliases"]] == [2, []]
    assert [third["version"], third["aliases"]] == [3, ["challenger"]]
    listed = client.get("/v1/models/churn/versions?limit=2").json()
    assert [each["version"] for each in listed["data"]] == [3, 2]
    assert all(each["member_count"] == 1 and "members" not in each for each in listed["data"])
    rest = client.get("/v1/models/churn/versions", params={"after": listed["next"]}).json()
    assert [(each["version"], each["aliases"]) for each in rest["data"]] == [(1, ["champion"])]


def test_weights_are_shares(client: TestClient, job_factory: JobFactory) -> None:
    ids = [job_factory.trained().job_id for _ in range(2)]

    version = publish(client, {"members": [{"job": ids[0], "weight": 3}, {"job": ids[1]}]}).json()

    assert [(member["job"], member["weight"]) for member in version["members"]] == [(ids[0], 0.75), (ids[1], 0.25)]


@both_databases
def test_an_idempotency_key_publishes_once(client: TestClient, job_factory: JobFactory) -> None:
    body = {"name": "churn", "from": {"job": job_factory.trained().job_id}}
    headers = {"Idempotency-Key": "k"}

    first = client.post("/v1/models", json=body, headers=headers)
    again = client.post("/v1/models", json=body, headers=headers)
    other = client.post("/v1/models", json={**body, "name": "other"}, headers=headers)

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json()["code"] == "idempotency_mismatch"
    assert client.get("/v1/models/churn").json()["versions"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": "churn"}, "/from"),
        ({"name": "Churn", "from": {"job": "job_1"}}, "/name"),
        ({"name": "a_b", "from": {"job": "job_1"}}, "/name"),
        ({"name": "-a", "from": {"job": "job_1"}}, "/name"),
        ({"name": "a" * 64, "from": {"job": "job_1"}}, "/name"),
        ({"name": "churn", "from": {}}, "/from"),
        ({"name": "churn", "from": {"job": "job_1", "sweep": "swp_1"}}, "/from"),
        ({"name": "churn", "from": {"members": []}}, "/from/members"),
        ({"name": "churn", "from": {"members": [{"job": "job_1", "weight": 0}]}}, "/from/members/0/weight"),
        ({"name": "churn", "from": {"members": [{"job": "job_1"}, {"job": "job_1"}]}}, "/from/members"),
        ({"name": "churn", "from": {"job": "job_1", "select": "best"}}, "/from/select"),
        ({"name": "churn", "from": {"sweep": "swp_1", "select": "worst"}}, "/from/select"),
        ({"name": "churn", "from": {"job": "job_1"}, "alias": "A"}, "/alias"),
        ({"name": "churn", "from": {"job": "job_1"}}, "/from/job"),
        ({"name": "churn", "from": {"members": [{"job": "job_1"}]}}, "/from/members/0/job"),
        ({"name": "churn", "from": {"sweep": "swp_1"}}, "/from/sweep"),
        ({"name": "churn", "from": {"job": "job_1"}, "alais": "a"}, "/alais"),
    ],
)
def test_a_wrong_request_is_a_422_with_its_pointer(client: TestClient, body: Any, pointer: str) -> None:
    response = client.post("/v1/models", json=body)

    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == pointer, response.text


def test_only_ended_jobs_with_a_best_epoch_are_published(client: TestClient, job_factory: JobFactory) -> None:
    ended = job_factory.trained().job_id
    failed = job_factory.running()
    job_factory.finish(failed, Status.failed)
    queued = job_factory.queued().id

    for job_id, problem in (
        (queued, "is queued; wait until it has ended"),
        (failed.job_id, "is failed and has no best epoch"),
    ):
        response = publish(client, {"members": [{"job": ended}, {"job": job_id}]})
        assert (response.status_code, response.json()["code"]) == (409, "conflict")
        assert response.json()["errors"] == [
            {"pointer": "/from/members/1/job", "message": f"the job {job_id!r} {problem}"}
        ]
    assert client.get("/v1/models/churn").status_code == 404


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"target": "z"}, "predicts 'z', the first one 'y'"),
        ({"classes": None}, "is a regression, the first one a classification"),
        ({"classes": ["b", "a"]}, "has other classes than the first one"),
        ({"feature": {"type": "integer"}}, f"reads {COLUMN}"),
        ({"feature": {"type": "text", "categories": ["a"]}}, f"reads {COLUMN}"),
        ({"feature": {"origin": 1e9}}, f"reads {COLUMN}"),
        ({"null_values": ["-999"]}, f"reads {COLUMN}"),
        ({"date_format": "%d/%m/%Y"}, "reads dates in another format than the ones before"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(
    client: TestClient, job_factory: JobFactory, other: dict[str, Any], problem: str
) -> None:
    plain: dict[str, Any] = {"classes": ["a", "b"]}
    ids = [job_factory.trained(data=weights(3, **fields)).job_id for fields in (plain, {**plain, **other})]

    response = publish(client, {"members": [{"job": job_id} for job_id in ids]})

    assert response.status_code == 422
    message = f"the job {ids[1]!r} {problem}: all members of a version must agree"
    assert response.json()["errors"] == [{"pointer": "/from/members/1/job", "message": message}]


def test_a_version_needs_the_columns_of_all_members(client: TestClient, job_factory: JobFactory) -> None:
    columns = ["x1 x0", "x0 x2", "x3 x2"]
    ids = [job_factory.trained(data=weights(3, features=names)).job_id for names in columns]

    version = publish(client, {"members": [{"job": job_id} for job_id in ids]})

    assert (version.status_code, version.json()["features"]) == (201, ["x1", "x0", "x2", "x3"])


def test_a_member_is_compared_with_all_before_it(client: TestClient, job_factory: JobFactory) -> None:
    other: dict[str, Any] = {"features": "x1", "feature": {"type": "integer"}}
    ways: list[dict[str, Any]] = [{"features": "x0"}, {"features": "x1"}, other]
    ids = [job_factory.trained(data=weights(3, **way)).job_id for way in ways]

    response = publish(client, {"members": [{"job": job_id} for job_id in ids]})

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/from/members/2/job")
    assert "reads column 'x1' as another type" in response.json()["detail"]


def test_members_that_do_not_fit_into_the_memory_of_a_helper_are_refused(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    ids = [job_factory.trained().job_id for _ in range(2)]
    predictor = CoinPredictor()
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        sizes = [client.get(f"/v1/jobs/{job_id}/checkpoints/best").json()["size_bytes"] for job_id in ids]
        source = {"members": [{"job": job_id} for job_id in ids]}
        predictor.model_bytes = sum(sizes) - 1

        refused = publish(client, source)
        alone = publish(client, {"job": ids[0]}, "alone")
        predictor.model_bytes = sum(sizes)
        fitting = publish(client, source)

    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/from")
    assert f"the 2 members take {sum(sizes):,} bytes" in refused.json()["detail"]
    assert f"at most {sum(sizes) - 1:,} bytes" in refused.json()["detail"]
    assert (alone.status_code, fitting.status_code) == (201, 201)
    assert fitting.json()["version"] == 1


def test_a_damaged_checkpoint_is_not_published(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id
    path = job_factory.artifacts.path(client.get(f"/v1/jobs/{job_id}/checkpoints/best").json()["path"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    response = publish(client, {"job": job_id})

    assert (response.status_code, response.json()["code"]) == (500, "checkpoint_corrupt")


@both_databases
def test_models_are_listed_and_filtered(client: TestClient, job_factory: JobFactory) -> None:
    first = published(client, job_factory, "one")["members"][0]["job"]
    published(client, job_factory, "two")

    def names(**params: Any) -> list[str]:
        return [model["name"] for model in client.get("/v1/models", params=params).json()["data"]]

    assert names() == ["two", "one"]
    assert names(name="one") == ["one"]
    assert names(job=first) == ["one"]
    assert names(job="job_0") == []
    page = client.get("/v1/models?limit=1").json()
    assert (page["has_more"], names(limit=1, after=page["next"])) == (True, ["one"])
    assert client.get("/v1/models/one/versions", params={"job": first}).json()["data"][0]["version"] == 1
    assert client.get("/v1/models/two/versions", params={"job": first}).json()["data"] == []


@both_databases
def test_a_version_with_an_alias_cannot_be_deleted(client: TestClient, job_factory: JobFactory) -> None:
    published(client, job_factory)

    version, model = client.delete("/v1/models/churn/versions/1"), client.delete("/v1/models/churn")

    assert (version.status_code, model.status_code) == (409, 409)
    assert version.json()["detail"] == "the alias 'champion' points to this version; move or delete it first"
    assert model.json()["detail"] == "the alias 'champion' points to version 1 of this model; delete it first"
    assert client.delete("/v1/models/churn/aliases/champion").status_code == 204
    assert client.delete("/v1/models/churn/versions/1").status_code == 204
    assert client.delete("/v1/models/churn/versions/1").status_code == 404
    assert client.get("/v1/models/churn").json()["latest"] is None
    assert published(client, job_factory)["version"] == 2  # numbers are not used twice
    assert client.delete("/v1/models/churn").status_code == 204
    assert client.get("/v1/models/churn").status_code == 404


def stored(client: TestClient) -> dict[str, int]:
    return dict(client.get("/v1/usage").json()["stored"])


@both_databases
def test_a_version_keeps_its_files_when_its_job_is_deleted(
    client: TestClient, job_factory: JobFactory, database: Database
) -> None:
    version = published(client, job_factory)
    (member,) = version["members"]
    before = stored(client)["checkpoints"]

    assert client.delete(f"/v1/jobs/{member['job']}").status_code == 204

    assert client.get("/v1/models/churn/versions/1").json() == version
    assert before == stored(client)["checkpoints"] == member["size_bytes"]  # once, however many have it
    client.delete("/v1/models/churn/aliases/champion")
    client.delete("/v1/models/churn/versions/1")
    assert stored(client)["checkpoints"] == 0
