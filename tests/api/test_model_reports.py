"""GET /v1/models/{model}/report: addresses, formats, what is stored, and why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.data.processes.runner import Allowance
from service.domain.report import ReportInputs
from service.reports.report import VersionReport
from service.settings import Settings
from tests.api.conftest import CoinPredictor
from tests.api.job_factory import JobFactory
from tests.api.test_job_predictions import kept
from tests.api.test_models import publish, published
from tests.examples import postgres_at_least
from tests.reports.examples import version_report


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ReportInputs]:
    """What reports were built from."""
    found: list[ReportInputs] = []
    write = CoinPredictor.report

    def note(self: CoinPredictor, inputs: ReportInputs, target: Path, allowed: Allowance) -> None:
        found.append(inputs)
        write(self, inputs, target, allowed)

    monkeypatch.setattr(CoinPredictor, "report", note)
    return found


def job(job_factory: JobFactory, **fields: Any) -> str:
    """An ended job that has kept its predictions."""
    return kept(job_factory, **fields)[0].split("/")[3]


def versions(client: TestClient, job_factory: JobFactory) -> list[Any]:
    """A version of one job, and one of two, with the alias `next`."""
    one, two = job(job_factory), job(job_factory)
    members = {"members": [{"job": one, "weight": 3}, {"job": two}]}
    made = publish(client, {"job": one}), publish(client, members, alias="next")
    assert [each.status_code for each in made] == [201, 201]
    return [each.json() for each in made]


@postgres_at_least
@pytest.mark.parametrize(("address", "version", "alias"), [("churn", 1, "champion"), ("churn@next", 2, "next")])
def test_the_report_is_of_the_version_at_the_address(
    client: TestClient, job_factory: JobFactory, asked: list[ReportInputs], address: str, version: int, alias: str
) -> None:
    made = versions(client, job_factory)

    first, second = (client.get(f"/v1/models/{address}/report") for _ in range(2))

    assert first.status_code == 200
    assert first.content == second.content
    assert VersionReport.model_validate(first.json()) == version_report("churn", version)
    assert [first.headers[f"model-{name}"] for name in ("name", "version", "alias")] == ["churn", str(version), alias]
    (inputs,) = asked
    members = made[version - 1]["members"]
    assert [each.weight for each in inputs.members] == [each["weight"] for each in members]
    assert [each.checkpoint.sha256 for each in inputs.members] == [each["sha256"] for each in members]
    assert all(each.predictions.path.exists() and each.checkpoint.path.exists() for each in inputs.members)
    assert all(each.resolved is not None for each in inputs.members)


def test_a_report_is_counted_and_freed_with_its_version(client: TestClient, job_factory: JobFactory) -> None:
    versions(client, job_factory)

    def stored() -> int:
        found: int = client.get("/v1/usage").json()["stored"]["job_files"]
        return found

    before = stored()
    size = len(client.get("/v1/models/churn:2/report").content)
    with_report = stored()
    client.delete("/v1/models/churn/aliases/next")
    client.delete("/v1/models/churn/versions/2")

    assert with_report - before == size
    assert stored() == before


def test_a_report_stays_when_its_jobs_are_deleted(
    client: TestClient, job_factory: JobFactory, asked: list[ReportInputs], settings: Settings
) -> None:
    made = versions(client, job_factory)
    report = client.get("/v1/models/churn:2/report")
    for member in made[1]["members"]:
        assert client.delete(f"/v1/jobs/{member['job']}").status_code == 204

    assert client.get("/v1/models/churn:2/report").content == report.content
    (file,) = Path(settings.artifacts).glob("models/*/report-*.json")
    file.write_text("{}")
    assert client.get("/v1/models/churn:2/report").content == report.content  # built again from the version's own files
    assert len(asked) == 2


def test_documents_and_costs_are_those_of_a_job_report(client: TestClient, job_factory: JobFactory) -> None:
    versions(client, job_factory)
    path = "/v1/models/churn@next/report"

    page = client.get(path, headers={"Accept": "text/html"})
    text = client.get(path, params={"format": "markdown"})
    costs = client.get(path, params={"costs": '{"false_negative": 9}'}).json()

    assert page.text.startswith("<!doctype html>")
    assert page.headers["content-security-policy"].endswith("sandbox")
    assert "Version 2 of churn, the weighted average of 2 networks" in text.text
    assert text.headers["content-disposition"] == 'inline; filename="churn-2-report.md"'
    assert costs["classification"]["thresholds"]["best"][-1]["metric"] == "cost"


def test_a_version_that_all_rows_trained_has_none(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained(split={"validation": 0.0}, early_stopping=None).job_id
    publish(client, {"job": job_id})

    nothing = client.get("/v1/models/churn/report")

    assert (nothing.status_code, nothing.json()["detail"]) == (
        409,
        f"the version has no report: its member {job_id!r} had neither validation nor test rows: all rows trained it",
    )


def test_a_version_without_kept_predictions_or_of_different_data_has_none(
    client: TestClient, job_factory: JobFactory, asked: list[ReportInputs]
) -> None:
    published(client, job_factory)
    ids = job(job_factory), job(job_factory, data={"kind": "synthetic", "rows": 77, "features": 3})
    publish(client, {"members": [{"job": each} for each in ids]})

    nothing, different = client.get("/v1/models/churn/report"), client.get("/v1/models/churn:2/report")

    assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")
    assert "has kept no predictions when it ended; include `predictions` in BESTEPOCH_KEEP" in nothing.json()["detail"]
    assert (different.status_code, different.json()["detail"]) == (
        409,
        "the version has no report: its members were trained on different data",
    )
    assert client.get("/v1/models/churn@none/report").status_code == 404
    assert client.get("/v1/models/other/report").status_code == 404
    assert client.get("/v1/models/CHURN/report").status_code == 422
    assert asked == []
