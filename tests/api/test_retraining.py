"""Retraining a job: its cost, its sweep, and the jobs that cannot be retrained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.domain.status import Status
from service.store.jobs.claim import Claim
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory
from tests.api.retraining import claimed, end, ended_job
from tests.api.test_forks import fork
from tests.api.test_job_predictions import kept
from tests.api.test_reports import Reports, reports
from tests.data.test_prediction_table import table

__all__ = ["reports"]


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


def ended_job_after(client: TestClient, job_factory: JobFactory, running: Claim) -> str:
    """An ended job; the one that was running is refused before it ends."""
    answer = client.get(f"/v1/jobs/{running.job_id}/retraining")
    assert (answer.status_code, "the job is running" in answer.json()["detail"]) == (409, True)
    job_factory.finish(running, Status.failed)
    return ended_job(client, job_factory)
