"""POST /v1/models/{model}/evaluate: rows and files, addresses, formats, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.data.processes.runner import Allowance
from service.domain.report import EvaluationInputs
from service.errors import FieldError, InvalidData
from service.reports.evaluation import Evaluation
from service.settings import Settings
from tests.api.conftest import CoinPredictor
from tests.api.job_factory import JobFactory
from tests.api.test_model_reports import versions
from tests.api.test_models import published
from tests.reports.examples import evaluation

ROWS = {"rows": [{"x0": 1.0, "y": 1.0}, {"x0": 2.0, "y": None}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationInputs]:
    """What was evaluated."""
    found: list[EvaluationInputs] = []
    write = CoinPredictor.report

    def note(self: CoinPredictor, inputs: EvaluationInputs, target: Path, allowed: Allowance) -> None:
        if isinstance(inputs, EvaluationInputs):
            found.append(inputs)
            assert inputs.staged is None or inputs.staged.is_dir()
        write(self, inputs, target, allowed)

    monkeypatch.setattr(CoinPredictor, "report", note)
    return found


@pytest.mark.parametrize(("address", "version", "alias"), [("churn", 1, "champion"), ("churn@next", 2, "next")])
def test_rows_and_files_are_evaluated_by_the_version_at_the_address(
    client: TestClient,
    job_factory: JobFactory,
    asked: list[EvaluationInputs],
    settings: Settings,
    address: str,
    version: int,
    alias: str,
) -> None:
    made = versions(client, job_factory)
    path = f"/v1/models/{address}/evaluate"

    rows = client.post(path, json=ROWS)
    file = client.post(path, content="x0,y\n1,1\n2,\n3,4\n", headers={"Content-Type": "text/csv"})

    for answer in (rows, file):
        assert answer.status_code == 200, answer.text
        assert Evaluation.model_validate(answer.json()) == evaluation("churn", version)
        assert [answer.headers[f"model-{name}"] for name in ("name", "version", "alias")] == [
            "churn",
            str(version),
            alias,
        ]
    first, second = asked
    assert list(first.rows) == ROWS["rows"]
    assert (second.rows, second.staged_rows) == ((), 3)
    for inputs in asked:
        assert inputs.no_comparison is None
        members = made[version - 1]["members"]
        assert [(each.sha256, each.weight) for each in inputs.model.members] == [
            (each["sha256"], each["weight"]) for each in members
        ]
        assert all(each.predictions is not None for each in inputs.model.members)
    assert list((Path(settings.artifacts) / "tmp").iterdir()) == []


def test_documents_are_those_of_reports(client: TestClient, job_factory: JobFactory) -> None:
    versions(client, job_factory)
    path = "/v1/models/churn@next/evaluate"

    page = client.post(path, json=ROWS, headers={"Accept": "text/html"})
    text = client.post(path, content="x0,y\n1,1\n", headers={"Content-Type": "text/csv"}, params={"format": "markdown"})

    assert page.text.startswith("<!doctype html>")
    assert page.headers["content-security-policy"].endswith("sandbox")
    assert text.text.startswith("# Evaluation of churn: classification of x")
    assert text.headers["content-disposition"] == 'inline; filename="churn-2-evaluation.md"'


def test_without_kept_predictions_the_reason_is_passed_on(
    client: TestClient, job_factory: JobFactory, asked: list[EvaluationInputs]
) -> None:
    published(client, job_factory)

    assert client.post("/v1/models/churn/evaluate", json=ROWS).status_code == 200

    assert asked[0].no_comparison is not None
    assert "has kept no predictions when it ended" in asked[0].no_comparison


def test_wrong_requests_are_refused(
    client: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(client, job_factory)
    path = "/v1/models/churn/evaluate"

    def refuse(self: CoinPredictor, inputs: EvaluationInputs, target: Path, allowed: Allowance) -> None:
        fault = FieldError("/rows/1/y", "'maybe' is none of the classes, which are 'no', 'yes'")
        raise InvalidData(f"{fault.pointer}: {fault.message}", (fault,))

    monkeypatch.setattr(CoinPredictor, "report", refuse)
    wrong = client.post(path, json=ROWS)

    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/rows/1/y")
    assert client.post(path, json={"rows": []}).status_code == 422
    assert client.post(path, json={"rows": [{"x0": []}]}).status_code == 422
    assert client.post(path, content="x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/v1/models/churn@none/evaluate", json=ROWS).status_code == 404
    assert client.post("/v1/models/none/evaluate", json=ROWS).status_code == 404
    assert client.get(path).status_code == 405
