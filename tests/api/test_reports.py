"""GET /v1/jobs/{id}/report: formats, costs, what is stored, and why there is none."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.data.processes.runner import Allowance
from service.domain.job_file import JobFileKind
from service.domain.report import ReportInputs
from service.domain.status import Status
from service.errors import Unavailable
from service.reports.report import Report
from service.settings import Settings
from service.store import job_files
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.api.test_job_predictions import kept
from tests.reports.examples import classification_report

REPORT = classification_report()


class Reports:
    """Counts how often a report is built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[ReportInputs] = []
        self.error: Exception | None = None
        monkeypatch.setattr(CoinPredictor, "report", self._write, raising=False)

    def _write(self, asked: ReportInputs, target: Path, allowed: Allowance) -> None:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        target.write_text(REPORT.model_dump_json())


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    return Reports(monkeypatch)


def report_path(job_factory: JobFactory) -> str:
    """Of an ended job with predictions."""
    return kept(job_factory)[0].replace("predictions", "report")


@both_databases
def test_a_report_is_built_once_and_stored(
    client: TestClient, job_factory: JobFactory, reports: Reports, database: Database
) -> None:
    path = report_path(job_factory)

    first, second = client.get(path), client.get(path)

    assert first.status_code == second.status_code == 200
    assert Report.model_validate(first.json()) == REPORT
    assert first.content == second.content
    assert len(reports.asked) == 1
    assert reports.asked[0].members[0].predictions.path.exists()
    assert reports.asked[0].members[0].checkpoint.path.exists()
    with database.reading() as connection:
        stored = job_files.find(connection, path.split("/")[3], JobFileKind.report)
    assert stored is not None
    assert stored.size_bytes == len(first.content)


def test_a_damaged_or_lost_report_is_built_again(
    client: TestClient, job_factory: JobFactory, reports: Reports, settings: Settings
) -> None:
    path = report_path(job_factory)
    first = client.get(path)
    (file,) = Path(settings.artifacts).glob("jobs/*/report-*.json")

    file.write_text("{}")
    assert client.get(path).content == first.content
    file.unlink()
    assert client.get(path).content == first.content
    assert len(reports.asked) == 3


def test_requests_at_once_share_a_report(live: httpx2.Client, job_factory: JobFactory, reports: Reports) -> None:
    path = report_path(job_factory)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: live.get(path).status_code, range(8)))

    assert answers == [200] * 8
    assert len(reports.asked) == 1


@pytest.mark.parametrize(
    ("accept", "format", "media_type", "begins"),
    [
        ("*/*", None, "application/json", '{"object":"report"'),
        ("text/html,application/xhtml+xml;q=0.9", None, "text/html; charset=utf-8", "<!doctype html>"),
        ("text/markdown", None, "text/markdown; charset=utf-8", "# Classification of x"),
        ("text/html", "markdown", "text/markdown; charset=utf-8", "# Classification of x"),
        ("text/html", "json", "application/json", '{"object":"report"'),
    ],
)
def test_the_format_is_that_of_the_parameter_or_the_header(
    client: TestClient,
    job_factory: JobFactory,
    reports: Reports,
    accept: str,
    format: str | None,  # noqa: A002
    media_type: str,
    begins: str,
) -> None:
    asked = {"format": format} if format else {}

    answer = client.get(report_path(job_factory), headers={"Accept": accept}, params=asked)

    assert answer.headers["content-type"] == media_type
    assert answer.text.startswith(begins)


def test_a_page_may_run_no_script_and_load_nothing(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    page = client.get(report_path(job_factory), params={"format": "html"})

    assert page.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
    )


def test_costs_add_a_threshold_without_another_report(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = report_path(job_factory)

    plain = client.get(path).json()
    found = client.get(path, params={"costs": json.dumps({"false_positive": 1, "false_negative": 9})}).json()

    assert [each["metric"] for each in plain["classification"]["thresholds"]["best"]] != []
    best = found["classification"]["thresholds"]["best"][-1]
    assert best["metric"] == "cost"
    assert best["at"]["threshold"] < 0.5
    assert len(reports.asked) == 1


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"false": 1}', "costs.false: unknown field"),
        ('{"false_positive": "1"}', "costs.false_positive should be a number"),
    ],
)
def test_wrong_costs_are_refused(
    client: TestClient, job_factory: JobFactory, reports: Reports, costs: str, message: str
) -> None:
    answer = client.get(report_path(job_factory), params={"costs": costs})

    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert reports.asked == []


def test_a_live_job_and_one_without_predictions_have_none_and_the_answer_says_why(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    claim = job_factory.running()
    path = f"/v1/jobs/{claim.job_id}/report"

    live = client.get(path)
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
    job_factory.finish(claim)
    ended = client.get(path)

    assert (live.status_code, live.json()["detail"]) == (
        409,
        "the job is running; its predictions are stored when it ends",
    )
    assert ended.status_code == 409
    assert "the job has no predictions" in ended.json()["detail"]
    assert client.get("/v1/jobs/job_0/report").status_code == 404
    assert reports.asked == []


def test_a_job_that_failed_before_its_first_epoch_has_none(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    claim = job_factory.running()
    job_factory.finish(claim, Status.failed)

    answer = client.get(f"/v1/jobs/{claim.job_id}/report")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_an_error_is_answered_and_the_next_request_tries_again(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = report_path(job_factory)
    reports.error = Unavailable("the process that builds the report ended unexpectedly; try again")

    assert client.get(path).status_code == 503
    reports.error = None
    assert client.get(path).status_code == 200


def test_beyond_the_quota_a_report_is_answered_and_not_stored(
    app: FastAPI, client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = report_path(job_factory)
    app.state.shared.quota._limit = 1

    assert client.get(path).status_code == client.get(path).status_code == 200
    assert len(reports.asked) == 2


def test_deleting_the_job_discards_its_report(
    client: TestClient, job_factory: JobFactory, reports: Reports, database: Database
) -> None:
    path = report_path(job_factory)
    client.get(path)

    assert client.delete(path.removesuffix("/report")).status_code == 204
    assert client.get(path).status_code == 404
