"""POST /v1/models/{model}/drift, and the profile that a version keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.models import profiles
from service.artifacts import Artifacts
from service.domain.version_file import VersionFile, VersionFileKind
from service.drift.profile import Profile
from service.drift.report import DriftReport
from service.errors import InvalidData, ReadingLimit
from service.settings import Settings
from service.store.engine import Database
from service.store.models import aliases, samples, version_files, versions
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory, weights
from tests.api.test_models import publish
from tests.drift.examples import drift_report
from tests.training.jobs import job

pytestmark = pytest.mark.profiles
ROWS = {"rows": [{"x0": 1.0}, {"x0": 2.0}]}


def published(client: TestClient, job_factory: JobFactory, **fields: Any) -> None:
    """A version of a new job with dummy weights."""
    claim = job_factory.trained(data=weights(3, classes=[0, 1]))
    response = publish(client, {"job": claim.job_id}, **fields)
    assert response.status_code == 201, response.text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Profile]]:
    """The rows, how they are read, and the profile that the predictor was given."""
    found = []

    def drift(_self: Any, _ref: Any, profile: Any, source: Path, reading: Any, _allowed: Any) -> Path:
        found.append((source.read_text(), reading, Profile.model_validate_json(profile.path.read_bytes())))
        target = source.with_name("drift.json")
        target.write_text(drift_report().model_dump_json())
        return target

    monkeypatch.setattr(CoinPredictor, "drift", drift)
    return found


def stored_profile(database: Database, artifacts: Artifacts) -> tuple[VersionFile | None, Profile | None]:
    with database.reading("default") as connection:
        file = version_files.find(connection, "churn", 1, VersionFileKind.profile)
    return file, None if file is None else Profile.model_validate_json(artifacts.path(file.path).read_bytes())


@both_databases
def test_publishing_keeps_a_profile_of_the_training_rows(
    client: TestClient, job_factory: JobFactory, database: Database, artifacts: Artifacts
) -> None:
    published(client, job_factory)

    file, profile = stored_profile(database, artifacts)

    assert file is not None
    assert profile is not None
    _, rows = job()
    assert profile.rows == len(rows.train.y)
    assert [each.column for each in profile.columns] == ["x0", "x1"]
    assert profile.predicted_rows == 0
    assert client.get("/v1/usage").json()["stored"]["job_files"] == file.size_bytes


@both_databases
def test_the_answer_names_the_version_and_what_has_drifted(
    client: TestClient, job_factory: JobFactory, asked: list[Any]
) -> None:
    published(client, job_factory)

    response = client.post("/v1/models/churn/drift", json=ROWS)

    found = response.json()
    assert response.status_code == 200, response.text
    assert found.pop("model") == {"name": "churn", "version": 1, "alias": "champion"}
    assert DriftReport.model_validate(found) == drift_report()
    assert [response.headers[f"model-{name}"] for name in ("name", "version", "alias")] == ["churn", "1", "champion"]
    ((rows, reading, profile),) = asked
    assert (json.loads(rows), reading) == (ROWS["rows"], None)
    assert profile.columns[0].column == "x0"


@pytest.mark.parametrize("address", ["churn:1", "churn@next"])
def test_files_are_taken_as_for_predictions(
    client: TestClient, job_factory: JobFactory, asked: list[Any], address: str
) -> None:
    published(client, job_factory, alias="next")
    headers = {"Content-Type": "text/csv; charset=cp1252"}

    response = client.post(f"/v1/models/{address}/drift", content="x0,x1\n1,2\n", headers=headers)

    assert response.json()["model"]["version"] == 1
    ((rows, reading, _),) = asked
    assert rows == "x0,x1\n1,2\n"
    assert (reading.format, reading.encoding) == ("csv", "cp1252")


def test_a_profile_that_is_missing_is_made_again(
    client: TestClient, job_factory: JobFactory, asked: list[Any], database: Database, artifacts: Artifacts
) -> None:
    published(client, job_factory)
    file, profile = stored_profile(database, artifacts)
    assert file is not None
    artifacts.delete(file.path)

    response = client.post("/v1/models/churn/drift", json=ROWS)

    assert response.status_code == 200
    assert asked[0][2] == profile
    assert stored_profile(database, artifacts) == (file, profile)


def test_a_version_of_before_gets_its_profile_when_it_is_asked_for(
    client: TestClient, job_factory: JobFactory, asked: list[Any], database: Database, artifacts: Artifacts
) -> None:
    job_id = job_factory.trained(data=weights(3, classes=[0, 1])).job_id
    resolved = client.get(f"/v1/jobs/{job_id}").json()["spec"]
    version = job_factory.new_version(job_id, name="churn")
    new = [replace(each, member=each.member.model_copy(update={"spec": resolved})) for each in version.members]
    with database.transaction("default") as connection:
        versions.create(connection, replace(version, members=new))
    assert stored_profile(database, artifacts) == (None, None)

    response = client.post("/v1/models/churn/drift", json=ROWS)

    assert response.status_code == 200, response.text
    assert stored_profile(database, artifacts)[1] == asked[0][2]


def test_without_a_profile_and_without_the_data_set_the_answer_is_a_conflict(
    client: TestClient, job_factory: JobFactory, asked: list[Any], database: Database
) -> None:
    version = job_factory.new_version(job_factory.trained().job_id, name="churn")
    spec = {"data": {"kind": "dataset", "id": "ds_gone", "target": "y"}}
    members = [replace(each, member=each.member.model_copy(update={"spec": spec})) for each in version.members]
    with database.transaction("default") as connection:
        versions.create(connection, replace(version, members=members))

    response = client.post("/v1/models/churn/drift", json=ROWS)

    assert response.status_code == 409
    assert response.json()["detail"].startswith("the version has no profile of its training rows")
    assert not asked


def test_a_version_is_published_even_if_its_rows_cannot_be_profiled(
    client: TestClient,
    job_factory: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
    artifacts: Artifacts,
) -> None:
    def fail(*_: Any) -> None:
        raise ReadingLimit("reading the file needs more than 1 MiB of memory, the limit here")

    monkeypatch.setattr(profiles, "write_profile", fail)

    published(client, job_factory)

    assert stored_profile(database, artifacts) == (None, None)
    refused = client.post("/v1/models/churn/drift", json=ROWS)
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("the training rows cannot be profiled: reading the file needs more")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/unknown/drift", ROWS, 404),
        ("/v1/models/churn@none/drift", ROWS, 404),
        ("/v1/models/churn/drift", {"rows": []}, 422),
        ("/v1/models/churn/drift?interval=0.9", ROWS, 422),
    ],
)
def test_bad_requests_are_refused(
    client: TestClient, job_factory: JobFactory, path: str, body: Any, status: int
) -> None:
    published(client, job_factory)

    assert client.post(path, json=body).status_code == status


def test_wrong_values_are_the_predictors_error(
    client: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drift(*_: Any) -> Path:
        raise InvalidData("/rows/0/x0: a number is needed")

    monkeypatch.setattr(CoinPredictor, "drift", drift)
    published(client, job_factory)

    response = client.post("/v1/models/churn/drift", json={"rows": [{"x0": "a"}]})

    assert response.status_code == 422
    assert response.json()["detail"] == "/rows/0/x0: a number is needed"


@pytest.fixture
def sampling(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    """A client of a service that samples 50 rows."""
    settings = settings.model_copy(update={"sample_rows": 50})
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        yield client


@both_databases
def test_sampled_rows_are_compared(sampling: TestClient, job_factory: JobFactory, asked: list[Any]) -> None:
    published(sampling, job_factory)
    for place in range(200):
        assert sampling.post("/v1/models/churn/predict", json={"rows": [{"x0": place}]}).status_code == 200

    response = sampling.get("/v1/models/churn/drift")

    assert response.status_code == 200, response.text
    rows = [row["x0"] for row in json.loads(asked[0][0])]
    assert 40 <= len(rows) <= 50
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(200))
    assert sum(row >= 100 for row in rows) > 25
    assert datetime.fromisoformat(response.json()["sampled_since"]) <= datetime.now(UTC)
    assert response.json()["model"] == {"name": "churn", "version": 1, "alias": "champion"}


def test_a_sample_outlives_the_process_and_is_of_one_version(
    sampling: TestClient,
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    job_factory: JobFactory,
    asked: list[Any],
) -> None:
    published(sampling, job_factory)
    published(sampling, job_factory)
    sampling.post("/v1/models/churn:2/predict", json=ROWS)
    sampling.__exit__(None, None, None)
    settings = settings.model_copy(update={"sample_rows": 50})

    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as other:
        one, two = (other.get(f"/v1/models/churn:{version}/drift") for version in (1, 2))

    assert (one.status_code, one.json()["detail"]) == (409, "churn:1 was not asked to predict rows in JSON yet")
    assert two.status_code == 200
    assert sorted(row["x0"] for row in json.loads(asked[0][0])) in ([1.0, 2.0], [1.0], [2.0])  # one slot may be both
    sampling.__enter__()


def test_without_the_setting_nothing_is_sampled(
    client: TestClient, job_factory: JobFactory, database: Database
) -> None:
    published(client, job_factory)
    client.post("/v1/models/churn/predict", json=ROWS)

    response = client.get("/v1/models/churn/drift")

    assert response.status_code == 409
    assert "BESTEPOCH_SAMPLE_ROWS" in response.json()["detail"]
    with database.reading("default") as connection:
        model_id = aliases.require_model(connection, "churn")
        assert samples.read(connection, model_id, 1, 100).rows == []


def test_a_sample_that_cannot_be_stored_fails_no_prediction(
    sampling: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    published(sampling, job_factory)
    monkeypatch.setattr(samples, "store", fail)

    assert sampling.post("/v1/models/churn/predict", json=ROWS).status_code == 200
    assert sampling.get("/v1/models/churn/drift").status_code == 409
    assert sampling.post("/v1/models/churn/predict", json=ROWS).status_code == 200
