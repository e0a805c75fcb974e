"""The section of a report that answers by retraining, and the reasons why it is missing."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.domain.status import Status
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.api.retraining import claimed, end, ended_job
from tests.api.test_reports import Reports, reports

__all__ = ["reports"]

LOSSES = {0.1: 0.9, 0.2: 0.8, 0.4: 0.7, 0.7: 0.6, 1.0: 0.5}
WITHOUT = {"a": 0.8, "b": 0.5, "c": 0.4}


@pytest.mark.parametrize("status", [Status.failed, Status.cancelled])
def test_a_sweep_without_a_job_that_has_succeeded_can_be_followed_by_another(
    client: TestClient, job_factory: JobFactory, reports: Reports, status: Status
) -> None:
    path = ended_job(client, job_factory)
    first = client.post(f"{path}/retraining").json()
    for _ in first["points"]:
        end(job_factory, claimed(job_factory.database), 0.5, status)

    report = client.get(f"{path}/report", params={"retrain": True}).json()
    second = client.post(f"{path}/retraining")

    assert report["retraining"] is None
    assert report["missing"][0]["reason"].startswith(
        f"none of the 24 jobs of the sweep {first['id']} has succeeded: POST {path}/retraining starts it"
    )
    assert second.status_code == 201
    assert second.json()["id"] != first["id"]


def test_jobs_that_were_cancelled_are_not_compared(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = ended_job(client, job_factory)
    sweep = client.post(f"{path}/retraining").json()
    for place, _ in enumerate(sweep["points"]):
        end(job_factory, claimed(job_factory.database), 0.5, Status.cancelled if place < 3 else Status.succeeded)

    found = client.get(f"{path}/report", params={"retrain": True}).json()["retraining"]

    assert (found["jobs"], found["without_result"]) == (21, 3)


def test_a_metric_that_no_job_has_is_a_reason(client: TestClient, job_factory: JobFactory, reports: Reports) -> None:
    path = ended_job(client, job_factory)
    for _ in client.post(f"{path}/retraining").json()["points"]:
        end(job_factory, claimed(job_factory.database), None)

    report = client.get(f"{path}/report", params={"retrain": True}).json()

    assert report["retraining"] is None
    assert "has a log loss of the test rows" in report["missing"][0]["reason"]


@both_databases
def test_the_report_has_the_answers_once_the_jobs_have_ended(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = ended_job(client, job_factory)

    def answer(**params: Any) -> Any:
        return client.get(f"{path}/report", params={"retrain": "true", **params})

    before = answer().json()
    sweep = client.post(f"{path}/retraining").json()
    during = answer().json()
    for point in sweep["points"]:
        seed = point["seed"]
        fraction, kept = point.get("split.train_fraction"), point.get("data.features")
        loss = LOSSES[fraction] if fraction else WITHOUT[next(iter({"a", "b", "c"} - set(kept)))]
        claim = claimed(job_factory.database)
        if fraction == 0.2 and seed == 1:
            end(job_factory, claim, None, Status.failed)
        else:
            end(job_factory, claim, loss + 0.01 * seed + (0.003 * seed * seed if kept == ["a", "c"] else 0.0))
    after = answer().json()

    assert before["retraining"] is during["retraining"] is None
    (reason,) = before["missing"]
    assert reason["section"] == "retraining"
    assert reason["reason"].startswith(f"the job was not retrained: POST {path}/retraining starts it")
    assert during["missing"][0]["reason"] == f"0 of 24 jobs of the sweep {sweep['id']} have ended"
    found = after["retraining"]
    assert (found["metric"], found["part"], found["jobs"], found["without_result"]) == ("log_loss", "test", 23, 1)
    assert [point["rows"] for point in found["learning_curve"]] == [12, 24, 48, 84, 120]
    assert [len(point["draws"]) for point in found["learning_curve"]] == [3, 2, 3, 3, 3]
    assert found["learning_curve"][-1]["mean"] == pytest.approx(0.51)
    assert found["learning_curve"][-1]["standard_error"] == pytest.approx(0.01 / 3**0.5)
    assert found["more_rows"]["mean"] == pytest.approx(-0.1)
    verdicts = {each["column"]: each["verdict"] for each in found["columns"]}
    assert verdicts == {"a": "worse_without", "b": "no_difference", "c": "better_without"}
    assert [each["column"] for each in found["columns"]] == ["a", "b", "c"]
    texts = [finding["text"] for finding in after["findings"]]
    assert any(text.startswith("More training rows would probably help: from 70% to 100%") for text in texts)
    assert any(text.startswith("Networks trained without c are better") for text in texts)
    markdown = answer(format="markdown").text
    assert "## Answers by retraining" in markdown
    assert "| 10% | 12 | 0.91 |" in markdown
    assert "Learning curve" in answer(format="html").text
    plain = client.get(f"{path}/report").json()
    assert (plain["retraining"], plain["missing"]) == (None, [])
    assert len(reports.asked) == 1
    summary = client.get(f"/v1/sweeps/{sweep['id']}/summary").json()["data"]
    assert len(summary) == 8


def test_the_report_says_what_became_of_the_sweep(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = ended_job(client, job_factory)
    sweep = client.post(f"{path}/retraining").json()
    client.post(f"/v1/sweeps/{sweep['id']}/cancel")

    cancelled = client.get(f"{path}/report", params={"retrain": True}).json()
    for job in client.get("/v1/jobs", params={"sweep": sweep["id"], "limit": 100}).json()["data"]:
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    deleted = client.get(f"{path}/report", params={"retrain": True}).json()

    assert cancelled["missing"][0]["reason"].startswith(f"the sweep {sweep['id']} was cancelled: POST ")
    assert deleted["missing"][0]["reason"].startswith(f"the jobs of the sweep {sweep['id']} were deleted: POST ")
    assert client.post(f"{path}/retraining").status_code == 201
