"""POST /v1/models/{model}/predict?shadow=ALIAS: differences are counted, and the answer is that of the address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.model_ref import ModelRef
from service.domain.prediction import DEFAULT, PredictedRows, PredictionOptions
from service.errors import CheckpointCorrupt, InvalidData, ServiceError, Unavailable
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor
from tests.api.job_factory import JobFactory
from tests.api.test_models import publish

ROWS = {"rows": [{"x0": float(place)} for place in range(4)]}
Answer = Callable[[int, float], dict[str, Any]]


def numbers(members: int, x: float) -> dict[str, Any]:
    """A version of two members predicts 0.5 more, but for the first row."""
    return {"prediction": x + (0.5 if members == 2 and x else 0.0)}


def classes(members: int, x: float) -> dict[str, Any]:
    """A version of two members predicts `b` for large numbers."""
    return {"prediction": "b" if members == 2 and x > 1 else "a", "probabilities": {"a": 0.5, "b": 0.5}}


def not_finite(members: int, x: float) -> dict[str, Any]:
    return {"prediction": None if x == 3 or (x == 2 and members == 2) else x}


def huge(members: int, x: float) -> dict[str, Any]:
    return {"prediction": 1.7e308 if members == 2 else -1.7e308}


def booleans(members: int, x: float) -> dict[str, Any]:
    return {"prediction": True if members == 2 else 1, "probabilities": {"1": 1.0}}


class Answering(CoinPredictor):
    """Answers by the number of members, or raises an error for two."""

    answer: Answer = staticmethod(numbers)
    error: ServiceError | None = None

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        if self.error is not None and len(ref.members) == 2:
            raise self.error
        return PredictedRows([type(self).answer(len(ref.members), row["x0"]) for row in rows], None)


@pytest.fixture
def predictor() -> Answering:
    return Answering()


@pytest.fixture
def client(
    settings: Settings, database: Database, artifacts: Artifacts, predictor: Answering, job_factory: JobFactory
) -> Iterator[TestClient]:
    """With a champion of one member, and a challenger of two."""
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        ids = [job_factory.trained().job_id for _ in range(2)]
        publish(client, {"job": ids[0]})
        publish(client, {"members": [{"job": each} for each in ids]}, alias="challenger")
        yield client


def predict(client: TestClient, shadow: str | None = "challenger", **options: Any) -> Any:
    params = options if shadow is None else {"shadow": shadow, **options}
    return client.post("/v1/models/churn/predict", json=ROWS, params=params)


def counted(client: TestClient) -> list[float]:
    """Values of the counters."""
    lines = client.get("/metrics").text.splitlines()
    names = ("rows", "different_rows", "failures")
    return [
        float(line.split()[1]) for name in names for line in lines if line.startswith(f"bestepoch_shadow_{name}_total ")
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (numbers, {"different": 3, "mean_absolute_difference": 0.375, "changed": []}),
        (huge, {"different": 4, "mean_absolute_difference": None, "changed": []}),
        (not_finite, {"different": 1, "mean_absolute_difference": None, "changed": []}),
        (
            classes,
            {
                "different": 2,
                "mean_absolute_difference": None,
                "changed": [{"answered": "a", "shadow": "b", "rows": 2}],
            },
        ),
        (
            booleans,
            {
                "different": 4,
                "mean_absolute_difference": None,
                "changed": [{"answered": 1, "shadow": True, "rows": 4}],
            },
        ),
    ],
)
def test_differences_are_counted_and_the_answer_is_that_of_the_address(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, answer: Answer, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr(Answering, "answer", staticmethod(answer))

    plain, found = predict(client, None).json(), predict(client).json()

    assert found.pop("shadow") == {"alias": "challenger", "version": 2, "rows": 4, "error": None, **expected}
    assert found == plain
    assert counted(client) == [4.0, expected["different"], 0.0]


@pytest.mark.parametrize(
    "error",
    [InvalidData("/rows/0/x1: a number is needed"), Unavailable("the helper died"), CheckpointCorrupt("it is damaged")],
)
def test_a_shadow_that_fails_never_fails_the_answer(
    client: TestClient, predictor: Answering, error: ServiceError
) -> None:
    plain = predict(client, None).json()
    predictor.error = error

    response = predict(client)

    found = response.json()
    shadow = found.pop("shadow")
    assert (response.status_code, found) == (200, plain)
    assert (shadow["version"], shadow["rows"], shadow["error"]) == (2, 0, error.detail)
    assert counted(client) == [0.0, 0.0, 1.0]


def test_an_alias_that_was_deleted_never_fails_the_answer(client: TestClient) -> None:
    client.delete("/v1/models/churn/aliases/challenger")

    response = predict(client)

    assert response.status_code == 200
    shadow = response.json()["shadow"]
    assert (shadow["version"], shadow["error"]) == (None, "the model 'churn' has no alias 'challenger'")


def test_a_shadow_of_another_kind_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed: Answer = lambda members, x: numbers(members, x) if members == 1 else classes(members, x)  # noqa: E731
    monkeypatch.setattr(Answering, "answer", staticmethod(mixed))

    assert "classes and the other version numbers" in predict(client).json()["shadow"]["error"]


def test_wrong_requests_are_refused(client: TestClient) -> None:
    assert predict(client, "Challenger").status_code == 422
    file = client.post(
        "/v1/models/churn/predict",
        content="x0\n1\n",
        headers={"Content-Type": "text/csv"},
        params={"shadow": "challenger"},
    )
    assert file.status_code == 400
    assert "`shadow` compares rows in JSON" in file.json()["detail"]
