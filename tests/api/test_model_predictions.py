"""Predictions by a published model: addresses, files, and moves of an alias under load."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.data.processes.runner import Allowance
from service.domain.model_ref import ModelRef
from service.domain.prediction import DEFAULT, AppliedCalibration, PredictedRows, PredictionOptions
from service.settings import Settings
from service.spec.read_options import ReadOptions
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases, serving
from tests.api.job_factory import JobFactory
from tests.api.test_models import publish, published

WRONG_ADDRESS = "model should be NAME, NAME@ALIAS or NAME:VERSION"
ROWS = {"rows": [{"x0": 1.0}, {"x0": 2.0}]}


class Naming(CoinPredictor):
    """Predicts which files and weights it was given."""

    def predict(self, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT) -> PredictedRows:
        return PredictedRows([{"prediction": self._named(ref)} for _ in rows], None)

    def predict_file(
        self,
        ref: ModelRef,
        source: Path,
        reading: ReadOptions,
        allowed: Allowance,
        options: PredictionOptions = DEFAULT,
    ) -> tuple[Path, AppliedCalibration | None]:
        target = source.with_name("answer")
        target.write_text(self._named(ref))
        return target, None

    @staticmethod
    def _named(ref: ModelRef) -> str:
        assert all(Path(member.path).is_file() for member in ref.members)
        return " ".join(f"{member.sha256} {member.weight}" for member in ref.members)


@pytest.fixture
def client(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database, artifacts, Naming())) as client:
        yield client


def expected(version: Any) -> str:
    return " ".join(f"{member['sha256']} {member['weight']}" for member in version["members"])


@both_databases
@pytest.mark.parametrize(
    ("address", "version", "alias"),
    [("churn", 1, "champion"), ("churn@champion", 1, "champion"), ("churn@next", 2, "next"), ("churn:2", 2, None)],
)
def test_a_model_is_addressed_by_name_alias_or_version(
    client: TestClient, job_factory: JobFactory, address: str, version: int, alias: str | None
) -> None:
    one = published(client, job_factory)
    ids = [job_factory.trained(epochs=epochs).job_id for epochs in (4, 5)]
    two = publish(client, {"members": [{"job": ids[0], "weight": 3}, {"job": ids[1]}]}, alias="next").json()

    response = client.post(f"/v1/models/{address}/predict", json=ROWS)
    file = client.post(f"/v1/models/{address}/predict", content="x0\n1\n", headers={"Content-Type": "text/csv"})

    made = expected([one, two][version - 1])
    assert response.json()["model"] == {"name": "churn", "version": version, "alias": alias}
    assert [each["prediction"] for each in response.json()["predictions"]] == [made, made]
    assert file.text == made
    assert file.headers["content-disposition"] == f'attachment; filename="churn-{version}-predictions.csv"'
    for answer in (response, file):
        named = [answer.headers.get(f"model-{name}") for name in ("name", "version", "alias")]
        assert named == ["churn", str(version), alias]


class Counting(CoinPredictor):
    """Remembers the numbers of rows that it has predicted together with other requests."""

    def __init__(self) -> None:
        self.few: list[int] = []

    async def predict_few(
        self, tenant: str, ref: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions = DEFAULT
    ) -> PredictedRows:
        self.few.append(len(rows))
        return self.predict(ref, rows, options)


def test_few_rows_are_fewer_for_a_model_of_several_members(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    predictor, ids = Counting(), [job_factory.trained().job_id for _ in range(4)]
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        publish(client, {"members": [{"job": job_id} for job_id in ids]})
        for count in (8, 9):
            rows = {"rows": [{"x0": 1.0}] * count}
            assert len(client.post("/v1/models/churn/predict", json=rows).json()["predictions"]) == count

    assert predictor.few == [8]


def test_an_address_may_be_escaped(client: TestClient, job_factory: JobFactory) -> None:
    published(client, job_factory)

    for address in ("churn%40champion", "churn%3A1"):
        assert client.post(f"/v1/models/{address}/predict", json=ROWS).json()["model"]["version"] == 1


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        ("none", 404, "no model 'none'"),
        ("churn@next", 404, "the model 'churn' has no alias 'next'"),
        ("churn:2", 404, "the model 'churn' has no version 2"),
        ("churn:0", 422, WRONG_ADDRESS),
        ("churn@", 422, WRONG_ADDRESS),
        ("churn:1@next", 422, WRONG_ADDRESS),
        ("Churn", 422, WRONG_ADDRESS),
    ],
)
def test_an_unknown_address_is_refused_for_rows_and_files(
    client: TestClient, job_factory: JobFactory, address: str, status: int, detail: str
) -> None:
    published(client, job_factory)
    file = {"content": b"x" * 200_000, "headers": {"Content-Type": "text/csv"}}

    for body in ({"json": ROWS}, file):
        response = client.post(f"/v1/models/{address}/predict", **body)  # type: ignore[arg-type]
        assert response.status_code == status
        assert detail in response.json()["detail"]


def test_a_model_without_champion_says_so(client: TestClient, job_factory: JobFactory) -> None:
    published(client, job_factory)
    client.delete("/v1/models/churn/aliases/champion")

    response = client.post("/v1/models/churn/predict", json=ROWS)

    assert (response.status_code, response.json()["detail"]) == (404, "the model 'churn' has no alias 'champion'")


@both_databases
def test_predictions_go_on_when_the_members_jobs_are_deleted(client: TestClient, job_factory: JobFactory) -> None:
    version = published(client, job_factory)
    client.delete(f"/v1/jobs/{version['members'][0]['job']}")

    response = client.post("/v1/models/churn/predict", json=ROWS)

    assert response.json()["predictions"][0]["prediction"] == expected(version)


@both_databases
def test_moves_under_load_never_fail_or_mix_versions(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    fast = settings.model_copy(update={"max_requests_per_second": 100_000})
    with serving(create_app(fast, database, artifacts, Naming())) as (_, url), httpx2.Client(base_url=url) as client:
        made = {}
        for version in (1, 2):
            ids = [job_factory.trained(epochs=3 * version + each).job_id for each in range(2)]
            body = {"name": "churn", "from": {"members": [{"job": job_id} for job_id in ids]}}
            made[version] = expected(client.post("/v1/models", json=body).json())
        wrong, seen, done = list[Any](), Counter[int](), threading.Event()

        def ask() -> None:
            with httpx2.Client(base_url=url) as mine:
                while not done.is_set():
                    response = mine.post("/v1/models/churn/predict", json=ROWS)
                    answer = response.json()
                    version = answer.get("model", {}).get("version")
                    seen[version] += 1
                    if {each["prediction"] for each in answer.get("predictions", [])} != {made.get(version)}:
                        wrong.append(answer)
                    if response.headers.get("model-version") != str(version):
                        wrong.append(response.headers)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        began, moves = time.monotonic(), 0
        while (spent := time.monotonic() - began) < 3.0 or (spent < 60.0 and min(moves, seen[1], seen[2]) <= 20):
            moves += 1
            moved = client.put("/v1/models/churn/aliases/champion", json={"version": 2 - moves % 2})
            assert moved.status_code == 200
        done.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert moves > 20
    assert min(seen[1], seen[2]) > 20
