"""Predictions for JSON rows by the best epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.model_ref import ModelRef
from service.domain.prediction import DEFAULT, PredictedRows, PredictionOptions
from service.errors import FieldError, InvalidData
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor
from tests.api.job_factory import JobFactory


def test_each_row_is_predicted_by_the_best_epoch(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained(epochs=3)
    rows = [{"x0": 1.5, "x1": None, "x2": "text"}, {"x0": True, "x1": 2, "x2": 3}]

    response = client.post(f"/v1/jobs/{claim.job_id}/predict", json={"rows": rows})

    answer = response.json()
    assert response.status_code == 200
    assert answer["predictions"] == [{"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}}] * 2
    best = client.get(f"/v1/jobs/{claim.job_id}/checkpoints/best").json()
    assert answer["checkpoint"] == {"epoch": 3, "sha256": best["sha256"]}


def test_predicting_without_a_best_epoch_is_a_409(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()

    response = client.post(f"/v1/jobs/{job.id}/predict", json={"rows": [{"x0": 1}]})

    assert response.status_code == 409
    assert response.json()["detail"] == "the job is queued and has no best epoch to predict with"


def test_predicting_with_a_missing_job_is_a_404(client: TestClient) -> None:
    assert client.post("/v1/jobs/job_0/predict", json={"rows": [{"x0": 1}]}).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/rows"),
        ({"rows": []}, "/rows"),
        ({"rows": [{}] * 10_001}, "/rows"),
        ({"rows": [5]}, "/rows/0"),
        ({"rows": [{"a": 1}, {"a": [1]}]}, "/rows/1/a"),
        ({"rows": [{"": 1}]}, "/rows/0/"),
        ({"row": []}, "/rows"),
    ],
)
def test_invalid_rows_are_a_422_with_their_pointer(
    client: TestClient, job_factory: JobFactory, body: Any, pointer: str
) -> None:
    response = client.post(f"/v1/jobs/{job_factory.trained().job_id}/predict", json=body)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == pointer


class Numbers(CoinPredictor):
    """Answers with the number of the row; knows a single column."""

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        for index, row in enumerate(rows):
            if set(row) != {"x0"}:
                raise InvalidData("a row lacks a column", (FieldError(f"/rows/{index}", "has no x0"),))
        return PredictedRows([{"prediction": index + 0.5} for index, _ in enumerate(rows)], None)


@pytest.fixture
def numbers(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database, artifacts, Numbers())) as client:
        yield client


def test_a_regression_has_no_probabilities(numbers: TestClient, job_factory: JobFactory) -> None:
    response = numbers.post(f"/v1/jobs/{job_factory.trained().job_id}/predict", json={"rows": [{"x0": 1}] * 2})

    assert response.json()["predictions"] == [{"prediction": 0.5}, {"prediction": 1.5}]


def test_the_predictors_errors_have_pointers(numbers: TestClient, job_factory: JobFactory) -> None:
    response = numbers.post(f"/v1/jobs/{job_factory.trained().job_id}/predict", json={"rows": [{"x0": 1}, {"x9": 1}]})

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert response.json()["errors"] == [{"pointer": "/rows/1", "message": "has no x0"}]
