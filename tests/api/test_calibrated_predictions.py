"""Calibrated probabilities, intervals and sets of classes over HTTP, by real networks in the real helper process."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select, update
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.data.formats.prediction_table import PredictionSource, PredictionTable
from service.data.preprocess.preprocessing import Table
from service.domain.access import DEFAULT_TENANT
from service.reports.temperature import apply_temperature
from service.serving.predictor import Predictor
from service.settings import Settings
from service.spec.job import Task
from service.store.engine import Database
from service.store.model_tables import model_versions
from service.training.checkpoint import from_bytes
from service.training.inference import InferenceModel
from tests.api.job_factory import JobFactory
from tests.api.test_models import publish
from tests.api.test_prediction_files import CSV, PARQUET, weights
from tests.data.files import parquet

pytestmark = pytest.mark.slow

NONE_KEPT = (
    "the job has kept no predictions of validation rows: a job keeps them when it ends, "
    "unless it has no validation rows or BESTEPOCH_KEEP leaves them out"
)
CLASSES = ['c "d"', "a, b", "e"]


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    running = Predictor()
    yield running
    running.close()


@pytest.fixture
def client(settings: Settings, database: Database, artifacts: Artifacts, predictor: Predictor) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        yield client


@pytest.fixture(scope="module")
def classifier() -> bytes:
    return weights([CLASSES[i % 7 // 3] for i in range(40)], max_epochs=60)


@pytest.fixture(scope="module")
def regressor() -> bytes:
    return weights([i * 1.5 for i in range(40)], task="regression")


def drawn(rows: int, seed: int) -> NDArray[np.float64]:
    """(rows, 2) inputs."""
    return np.random.default_rng(seed).uniform(0, 7, (rows, 2))


def sent(x: NDArray[np.float64]) -> list[dict[str, float]]:
    return [{"x0": first, "x1": second} for first, second in x.tolist()]


def outputs(data: bytes, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw probabilities or numbers of this checkpoint."""
    model, table = InferenceModel(from_bytes(data)), Table({"x0": x[:, 0], "x1": x[:, 1]}, len(x))
    return model.shares(table).numpy() if model.preprocessing.target.classes else model.numbers(table)


def truth_of(found: NDArray[np.float64], seed: int) -> NDArray[Any]:
    """True values: classes that are less sure than the network, or numbers with noise."""
    random = np.random.default_rng(seed)
    if found.ndim == 1:
        return found + random.standard_t(5, len(found))
    right = apply_temperature(found, 2.0)
    return (right.cumsum(1) > random.random((len(found), 1))).argmax(1)


def trained(job_factory: JobFactory, data: bytes, rows: int, seed: int = 0, data_seed: int = 0) -> str:
    """A job with this checkpoint that has kept predictions of so many validation rows."""
    claim = job_factory.running(data={"kind": "synthetic", "rows": 60, "features": 3, "seed": data_seed})
    job_factory.publish(claim, 3, data=data)
    found = outputs(data, drawn(rows, seed))
    truth, places, sha256 = truth_of(found, seed + 1), np.arange(rows), hashlib.sha256(data).hexdigest()
    source = PredictionSource(job=claim.job_id, epoch=3, sha256=sha256, task=Task.regression, target="y", classes=None)
    if found.ndim == 1:
        table = PredictionTable(source, places, rows, truth, found, None)
    else:
        known = from_bytes(data).preprocessing.target.classes or ()
        source = source.model_copy(update={"task": Task.classification, "classes": tuple(known)})
        table = PredictionTable(source, places, rows, truth, found.argmax(1), found.astype(np.float32))
    job_factory.keep_predictions(claim, table)
    job_factory.finish(claim)
    return claim.job_id


def predicted(client: TestClient, path: str, x: NDArray[np.float64], **options: Any) -> Any:
    response = client.post(f"/v1/{path}/predict", json={"rows": sent(x)}, params=options)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("task", ["classifier", "regressor"])
def test_intervals_and_sets_contain_the_truth_as_often_as_asked_for(
    client: TestClient, job_factory: JobFactory, request: pytest.FixtureRequest, task: str
) -> None:
    data, covered = request.getfixturevalue(task), list[bool]()

    for repeat in range(10):
        job = trained(job_factory, data, 500, seed=100 * repeat)
        x = drawn(500, 100 * repeat + 50)
        found = outputs(data, x)
        truth = truth_of(found, 100 * repeat + 51)
        answers = predicted(client, f"jobs/{job}", x, interval=0.9)["predictions"]
        if task == "regressor":
            pairs = zip(answers, truth.tolist(), strict=True)
            covered += [answer["lower"] <= value <= answer["upper"] for answer, value in pairs]
        else:
            names = list(answers[0]["probabilities"])
            pairs = zip(answers, truth.tolist(), strict=True)
            covered += [names[value] in answer["set"] for answer, value in pairs]

    assert 0.88 < np.mean(covered) < 0.92


def test_calibrated_probabilities_have_the_lower_log_loss_and_raw_ones_stay(
    client: TestClient, job_factory: JobFactory, classifier: bytes
) -> None:
    job, x = trained(job_factory, classifier, 2_000), drawn(2_000, 7)
    raw = outputs(classifier, x)
    truth = truth_of(raw, 8)

    answers = {flag: predicted(client, f"jobs/{job}", x, calibrated=flag) for flag in ("true", "false")}

    assert answers["true"]["calibration"].pop("temperature") == pytest.approx(2.0, rel=0.25)
    assert answers["true"]["calibration"] == {"rows": 2_000, "reason": "fitted", "level": None}
    assert answers["false"]["calibration"] is None
    shares = {
        flag: np.array([list(each["probabilities"].values()) for each in answer["predictions"]])
        for flag, answer in answers.items()
    }
    assert (shares["false"] == raw).all()
    loss = {flag: -np.log(each[np.arange(len(x)), truth]).mean() for flag, each in shares.items()}
    assert loss["true"] < loss["false"]
    assert predicted(client, f"jobs/{job}", x)["predictions"] == answers["true"]["predictions"]


@pytest.mark.parametrize("task", ["classifier", "regressor"])
def test_files_have_the_values_of_json(
    client: TestClient, job_factory: JobFactory, request: pytest.FixtureRequest, task: str, tmp_path: Path
) -> None:
    job, x = trained(job_factory, request.getfixturevalue(task), 300), drawn(50, 3)
    json_ = predicted(client, f"jobs/{job}", x, interval=0.8)
    values = ", ".join(f"({first!r}, {second!r})" for first, second in x.tolist())
    files = {
        CSV: "x0,x1\n" + "".join(f"{first!r},{second!r}\n" for first, second in x.tolist()),
        PARQUET: parquet(f"FROM (VALUES {values}) AS t(x0, x1)"),
    }

    for kind, content in files.items():
        response = client.post(
            f"/v1/jobs/{job}/predict", content=content, headers={"Content-Type": kind}, params={"interval": 0.8}
        )
        assert response.status_code == 200, response.text
        assert json.loads(response.headers["calibration"]) == json_["calibration"]
        if kind == PARQUET:
            (tmp_path / "answer").write_bytes(response.content)
            table = duckdb.read_parquet(str(tmp_path / "answer"))
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
        else:
            rows = list(csv.DictReader(io.StringIO(response.text)))
        for row, answer in zip(rows, json_["predictions"], strict=True):
            if task == "classifier":
                assert json.loads(row["set"]) == answer["set"]
                shares = {name: float(row[f"probability of {name}"]) for name in CLASSES}
                assert (row["prediction"], shares) == (answer["prediction"], answer["probabilities"])
            else:
                assert {name: float(value) for name, value in row.items()} == answer


def test_a_version_of_a_model_is_calibrated_by_its_members(
    client: TestClient, job_factory: JobFactory, classifier: bytes
) -> None:
    job, x = trained(job_factory, classifier, 1_000), drawn(10, 5)
    by_job = predicted(client, f"jobs/{job}", x, interval=0.9)
    version = publish(client, {"job": job}).json()
    assert version["calibration"] | {"level": 0.9} == by_job["calibration"]

    client.delete(f"/v1/jobs/{job}")

    by_model = predicted(client, "models/churn", x, interval=0.9)
    assert by_model["predictions"] == by_job["predictions"]
    assert by_model["calibration"] == by_job["calibration"]
    assert client.get("/v1/models/churn/versions/1").json() == version


@pytest.mark.parametrize(("seeds", "reason"), [((1, 2), "the members were trained on different data"), ((1, 1), None)])
def test_members_of_different_data_are_not_calibrated_by_row_number(
    client: TestClient, job_factory: JobFactory, classifier: bytes, seeds: tuple[int, int], reason: str | None
) -> None:
    jobs, x = [trained(job_factory, classifier, 1_000, data_seed=each) for each in seeds], drawn(5, 3)

    version = publish(client, {"members": [{"job": job} for job in jobs]}).json()

    found = predicted(client, "models/churn", x)
    assert found["calibration"] == {**version["calibration"], "level": None}
    asked = client.post("/v1/models/churn/predict", json={"rows": sent(x)}, params={"interval": 0.9})
    if reason is None:
        assert (version["calibration"]["reason"], asked.status_code) == ("fitted", 200)
    else:
        assert version["calibration"] == {"temperature": 1.0, "rows": 0, "reason": reason}
        assert found["predictions"] == predicted(client, "models/churn", x, calibrated=False)["predictions"]
        assert (asked.status_code, asked.json()["detail"]) == (409, reason)


def test_a_version_never_changes_though_the_predictions_of_its_members_are_lost(
    client: TestClient, job_factory: JobFactory, classifier: bytes, artifacts: Artifacts
) -> None:
    job, x = trained(job_factory, classifier, 1_000), drawn(5, 3)
    publish(client, {"job": job})
    for kept in artifacts.root.rglob("*predictions*"):
        if kept.is_file():
            kept.unlink()

    found = predicted(client, "models/churn", x)

    assert found["calibration"]["reason"] == "fitted"
    assert found["predictions"] != predicted(client, "models/churn", x, calibrated=False)["predictions"]
    asked = client.post("/v1/models/churn/predict", json={"rows": sent(x)}, params={"interval": 0.9})
    assert (asked.status_code, asked.json()["code"]) == (500, "predictions_corrupt")


def test_a_version_of_before_stays_raw(
    client: TestClient, job_factory: JobFactory, classifier: bytes, database: Database
) -> None:
    job, x = trained(job_factory, classifier, 1_000), drawn(5, 3)
    publish(client, {"job": job})
    with database.transaction(DEFAULT_TENANT) as connection:
        signature = connection.scalar(select(model_versions.c.signature))
        del signature["calibration"]
        connection.execute(update(model_versions).values(signature=signature))

    found = predicted(client, "models/churn", x)

    assert "publish it again" in found["calibration"]["reason"]
    assert found["predictions"] == predicted(client, "models/churn", x, calibrated=False)["predictions"]


def test_a_job_whose_predictions_are_damaged_is_published_with_the_reason(
    client: TestClient, job_factory: JobFactory, classifier: bytes, artifacts: Artifacts
) -> None:
    job = trained(job_factory, classifier, 1_000)
    for kept in artifacts.root.rglob("*predictions*"):
        if kept.is_file():
            kept.write_bytes(kept.read_bytes()[:-1] + b"x")

    version = publish(client, {"job": job})

    assert version.status_code == 201, version.text
    assert version.json()["metrics"] == {"validation": None, "test": None}
    assert version.json()["calibration"]["reason"] == "the file of predictions is missing or has changed"


def test_an_interval_needs_kept_predictions_and_enough_of_them(
    client: TestClient, job_factory: JobFactory, regressor: bytes
) -> None:
    few, none = trained(job_factory, regressor, 8), job_factory.running()
    job_factory.publish(none, 3, data=regressor)
    rows = {"rows": [{"x0": 1.0, "x1": 2.0}]}

    def refused(job: str, content_type: str | None = None) -> tuple[int, str]:
        too_large = "x0,x1\n" + "1,2\n" * 50_000  # so that it is refused with 413 if it is received
        kind = {"json": rows} if content_type is None else {"content": too_large}
        headers = {} if content_type is None else {"Content-Type": content_type}
        response = client.post(f"/v1/jobs/{job}/predict", params={"interval": 0.9}, headers=headers, **kind)
        return response.status_code, response.json()["detail"]

    for content_type in (None, CSV):
        message = "8 validation rows are too few for the level 0.9: it needs at least 9"
        assert refused(few, content_type) == (409, message)
        assert refused(none.job_id, content_type) == (409, NONE_KEPT)
    assert predicted(client, f"jobs/{none.job_id}", drawn(1, 0))["calibration"] is None


def test_a_running_job_says_that_its_probabilities_are_raw(
    client: TestClient, job_factory: JobFactory, classifier: bytes
) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 3, data=classifier)

    found = predicted(client, f"jobs/{claim.job_id}", drawn(3, 0))

    assert found["calibration"] == {"temperature": 1.0, "rows": 0, "reason": NONE_KEPT, "level": None}


@pytest.mark.parametrize("level", ["0", "1", "-0.5", "90", "nan", "inf", "much"])
def test_a_level_is_between_0_and_1(client: TestClient, job_factory: JobFactory, level: str) -> None:
    job, rows = job_factory.trained().job_id, {"rows": [{"x0": 1.0}]}

    for content in ({"json": rows}, {"content": "x0\n1\n", "headers": {"Content-Type": CSV}}):
        response = client.post(f"/v1/jobs/{job}/predict", params={"interval": level}, **content)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
        assert "interval" in response.json()["detail"]
