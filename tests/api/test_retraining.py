"""Retraining a job: its cost, its sweep, and the section of the report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import attempt
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.api.test_forks import fork
from tests.api.test_job_predictions import kept
from tests.api.test_reports import Reports, reports
from tests.data.test_prediction_table import table

__all__ = ["reports"]

ROWS = 200


def table_of(columns: list[str], rows: int = ROWS) -> bytes:
    """A table of numbers with the classes a and b."""
    lines = [",".join([*(str((i * (j + 3)) % 17 / 4) for j in range(len(columns))), "ab"[i % 2]]) for i in range(rows)]
    return "\n".join([",".join([*columns, "y"]), *lines, ""]).encode()


def claimed(database: Database) -> Claim:
    with database.transaction() as connection:
        return claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)[0]


def end(job_factory: JobFactory, claim: Claim, loss: float | None, status: Status = Status.succeeded) -> None:
    """The job ends after four epochs; `loss`: the log loss of its test and validation rows."""
    rows = [epoch(number, seconds=0.5) for number in range(1, 5)]
    metrics = {"val_loss": loss, "val_log_loss": loss}
    best = BestSoFar(4, 0.5, metrics)
    with job_factory.database.transaction() as connection:
        write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, rows, best)])
    job_factory.publish(claim, 4)
    with job_factory.database.transaction() as connection:
        outcome = Outcome(status, StopReason.early_stopped, {"loss": loss, "log_loss": loss})
        attempt.finish(connection, claim.job_id, claim.attempt, outcome)


def ended_job(
    client: TestClient | httpx2.Client, job_factory: JobFactory, columns: str = "a b c", **fields: Any
) -> str:
    """An ended job on an uploaded table."""
    rows = fields.pop("rows", ROWS)
    dataset = client.post("/v1/datasets", content=table_of(columns.split(), rows)).json()["id"]
    data = {"kind": "dataset", "id": dataset, "target": "y"}
    answer = client.post("/v1/jobs", json={"data": data, "split": {"test": 0.2}, "max_epochs": 20, **fields})
    assert answer.status_code == 201, answer.text
    claim = claimed(job_factory.database)
    job_factory.keep_predictions(claim, table(("a", "b"), 5, 3))
    end(job_factory, claim, 0.5)
    return f"/v1/jobs/{claim.job_id}"


@both_databases
def test_a_job_is_retrained_by_one_sweep(client: TestClient, job_factory: JobFactory) -> None:
    path = ended_job(client, job_factory, seed=7)

    plan = client.get(f"{path}/retraining").json()
    first, second = client.post(f"{path}/retraining"), client.post(f"{path}/retraining")

    assert (plan["jobs"], plan["sweep"], plan["draws"]) == (24, None, 3)
    assert plan["fractions"] == [0.1, 0.2, 0.4, 0.7, 1.0]
    assert (plan["columns"], plan["columns_by"], plan["left_out"]) == (["a", "b", "c"], "importance", [])
    assert plan["arrays"] == 4
    assert plan["epochs"] == 24 * 20
    rows = 3 * (12 + 24 + 48 + 84 + 120) + 9 * 120 + 24 * 40
    assert plan["estimated_seconds"] == pytest.approx(4 * 0.5 * rows / 160)
    assert (first.status_code, second.status_code) == (201, 200)
    sweep = first.json()
    assert sweep == second.json()
    assert (sweep["jobs"], sweep["retrains"]) == (24, path.rpartition("/")[2])
    assert sweep["points"][4] == {"split.train_fraction": 0.2, "split.train_seed": 1, "seed": 8}
    assert sweep["points"][-1] == {"data.features": ["a", "b"], "seed": 9}
    assert client.get(f"{path}/retraining").json()["sweep"] == sweep["id"]
    assert client.get(first.headers["location"]).json()["id"] == sweep["id"]


@both_databases
def test_requests_at_once_share_a_sweep(live: httpx2.Client, job_factory: JobFactory) -> None:
    path = ended_job(live, job_factory)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: live.post(f"{path}/retraining"), range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_cancelled_sweep_can_be_followed_by_another(client: TestClient, job_factory: JobFactory) -> None:
    path = ended_job(client, job_factory)
    first = client.post(f"{path}/retraining").json()
    client.post(f"/v1/sweeps/{first['id']}/cancel")

    second = client.post(f"{path}/retraining")

    assert second.status_code == 201
    assert second.json()["id"] != first["id"]
    assert client.post(f"{path}/retraining").json()["id"] == second.json()["id"]


def test_the_most_important_columns_are_left_out_and_the_report_is_built_for_it(
    client: TestClient, job_factory: JobFactory, reports: Reports
) -> None:
    path = ended_job(client, job_factory, columns="a place x")

    sweep = client.post(f"{path}/retraining").json()
    plan = client.get(f"{path}/retraining").json()

    assert len(reports.asked) == 1
    assert sweep["points"][15]["data.features"] == [name for name in ("a", "place", "x") if name != plan["columns"][0]]
    report = client.get(f"{path}/report").json()
    important = [each["columns"][0] for each in report["importance"]["columns"] if len(each["columns"]) == 1]
    assert set(important) == {"x", "place"}
    assert (plan["columns"], plan["columns_by"]) == ([*important, "a"], "importance")


def test_what_cannot_be_trained_is_left_out_and_the_plan_says_why(client: TestClient, job_factory: JobFactory) -> None:
    path = ended_job(client, job_factory, columns="a", rows=20)
    wide = ended_job(client, job_factory, columns=" ".join(f"c{i}" for i in range(13)))
    synthetic = kept(job_factory)[0].removesuffix("/predictions")

    plan, of_wide, of_synthetic = (client.get(f"{each}/retraining").json() for each in (path, wide, synthetic))

    few, none = plan["left_out"]
    assert (few["fraction"], few["column"]) == (0.1, None)
    assert few["reason"] == "1 of 12 training rows would train; at least 2 are needed"
    assert (none["fraction"], none["column"]) == (None, "a")
    assert none["reason"] == "it is the only column"
    assert plan["fractions"] == [0.2, 0.4, 0.7, 1.0]
    assert plan["columns"] == []
    assert of_wide["columns"] == [f"c{i}" for i in range(10)]
    assert of_wide["left_out"][0]["reason"] == "3 further columns: only the 10 most important ones are left out"
    assert of_synthetic["columns"] == []
    assert "rows inside the spec have no columns" in of_synthetic["left_out"][0]["reason"]
    assert client.post(f"{synthetic}/retraining").json()["jobs"] == 15


def test_a_job_that_trained_on_a_share_is_retrained_on_all_rows(client: TestClient, job_factory: JobFactory) -> None:
    path = ended_job(client, job_factory, split={"test": 0.2, "train_fraction": 0.5})

    sweep = client.post(f"{path}/retraining").json()

    assert (sweep["base"]["split"]["train_fraction"], sweep["base"]["split"]["train_seed"]) == (None, None)


def test_a_job_that_cannot_be_retrained_is_a_conflict(
    app: FastAPI, client: TestClient, job_factory: JobFactory
) -> None:
    failed = job_factory.running()
    job_factory.finish(failed, Status.failed)
    running = job_factory.running()
    path = ended_job_after(client, job_factory, running)
    few_jobs = app.state.shared.settings.model_copy(update={"max_sweep_jobs": 10})
    app.state.shared = replace(app.state.shared, settings=few_jobs)
    too_many = client.post(f"{path}/retraining")
    dataset = client.get(path).json()["spec"]["data"]["id"]
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    deleted = client.post(f"{path}/retraining")
    of_failed = client.post(f"/v1/jobs/{failed.job_id}/retraining")

    assert {answer.status_code for answer in (too_many, deleted, of_failed)} == {409}
    assert "the sweep would be 24 jobs; this server allows 10" in too_many.json()["detail"]
    assert "the data set was deleted" in deleted.json()["detail"]
    assert "has no best epoch" in of_failed.json()["detail"]
    assert client.post("/v1/jobs/job_0/retraining").status_code == 404


def test_a_fork_is_not_retrained(client: TestClient, job_factory: JobFactory) -> None:
    parent = job_factory.trained()
    forked = fork(client, parent.job_id, checkpoint="best").json()["id"]
    claim = claimed(job_factory.database)
    job_factory.keep_predictions(claim, table(("0", "1"), 5, 3))
    end(job_factory, claim, 0.5)

    answers = client.get(f"/v1/jobs/{forked}/retraining"), client.post(f"/v1/jobs/{forked}/retraining")

    assert claim.job_id == forked
    assert [answer.status_code for answer in answers] == [409, 409]
    assert f"the job is a fork of {parent.job_id}" in answers[1].json()["detail"]


def test_a_job_without_kept_predictions_is_not_retrained(client: TestClient, job_factory: JobFactory) -> None:
    path = f"/v1/jobs/{job_factory.trained().job_id}"

    answers = client.get(f"{path}/retraining"), client.post(f"{path}/retraining")

    assert [answer.status_code for answer in answers] == [409, 409]
    assert "the job has no predictions" in answers[1].json()["detail"]
    assert client.get("/v1/sweeps").json()["data"] == []


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


def ended_job_after(client: TestClient, job_factory: JobFactory, running: Claim) -> str:
    """An ended job; the one that was running is refused before it ends."""
    answer = client.get(f"/v1/jobs/{running.job_id}/retraining")
    assert (answer.status_code, "the job is running" in answer.json()["detail"]) == (409, True)
    job_factory.finish(running, Status.failed)
    return ended_job(client, job_factory)


LOSSES = {0.1: 0.9, 0.2: 0.8, 0.4: 0.7, 0.7: 0.6, 1.0: 0.5}
WITHOUT = {"a": 0.8, "b": 0.5, "c": 0.4}


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
