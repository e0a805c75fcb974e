"""Pause, resume and change of jobs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.store.jobs import attempt
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch


@both_databases
def test_a_queued_job_is_paused_at_once_and_resumed(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()

    for _ in range(2):
        paused = client.post(f"/v1/jobs/{job.id}/pause")
        assert (paused.status_code, paused.json()["status"], paused.json()["queue_position"]) == (200, "paused", None)
    assert [each["id"] for each in client.get("/v1/jobs?status=paused").json()["data"]] == [job.id]

    for _ in range(2):
        resumed = client.post(f"/v1/jobs/{job.id}/resume")
        assert (resumed.status_code, resumed.json()["status"], resumed.json()["queue_position"]) == (200, "queued", 1)


def test_a_running_job_is_paused_at_the_end_of_its_epoch(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))

    asked = client.post(f"/v1/jobs/{claim.job_id}/pause")
    assert (asked.status_code, asked.json()["status"], asked.json()["control"]) == (202, "running", "pause")
    with job_factory.database.transaction() as connection:
        attempt.release(connection, claim.job_id, claim.attempt)

    paused = client.get(f"/v1/jobs/{claim.job_id}").json()
    assert (paused["status"], paused["control"], paused["progress"]["epoch"]) == ("paused", None, 1)
    assert client.post(f"/v1/jobs/{claim.job_id}/cancel").json()["status"] == "cancelled"


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_ended_and_stopping_jobs_are_neither_paused_nor_resumed(
    client: TestClient, job_factory: JobFactory, what: str
) -> None:
    ended, ending = job_factory.trained(), job_factory.running()
    client.post(f"/v1/jobs/{ending.job_id}/cancel")

    for claim, detail in ((ended, "the job has ended: it is succeeded"), (ending, "the job is being cancelled")):
        response = client.post(f"/v1/jobs/{claim.job_id}/{what}")
        assert (response.status_code, response.json()["detail"]) == (409, detail)
    assert client.post(f"/v1/jobs/job_1/{what}").status_code == 404


def test_a_paused_job_is_live(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()
    client.post(f"/v1/jobs/{job.id}/pause")

    response = client.delete(f"/v1/jobs/{job.id}")

    assert (response.status_code, response.json()["detail"]) == (409, "the job is paused; cancel it first")


@both_databases
def test_name_labels_and_priority_can_be_changed(client: TestClient, job_factory: JobFactory) -> None:
    first, second = job_factory.queued(), job_factory.queued(name="second", labels={"team": "a"})

    changed = client.patch(f"/v1/jobs/{second.id}", json={"name": None, "labels": {"team": "b"}, "priority": 5})

    job = changed.json()
    assert (changed.status_code, job["name"], job["labels"], job["priority"]) == (200, None, {"team": "b"}, 5)
    assert (job["queue_position"], job["spec"]["priority"]) == (1, 0)
    assert client.get(f"/v1/jobs/{first.id}").json()["queue_position"] == 2
    assert [each["id"] for each in client.get("/v1/jobs?label.team=b").json()["data"]] == [second.id]


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"priority": "high"}, "/priority", "whole number"),
        ({"priority": 1.5}, "/priority", "whole number"),
        ({"labels": {"team": 1}}, "/labels/team", "text"),
        ({"labels": None}, "/labels", "object"),
        ({"name": "x" * 1_000}, "/name", "at most"),
        ({"seed": 1}, "/seed", "unknown field"),
        ([], "", "object"),
    ],
)
def test_an_invalid_change_is_a_422_with_its_pointer(
    client: TestClient, job_factory: JobFactory, body: Any, pointer: str, message: str
) -> None:
    response = client.patch(f"/v1/jobs/{job_factory.queued().id}", json=body)

    (error,) = response.json()["errors"]
    assert (response.status_code, error["pointer"]) == (422, pointer)
    assert message in error["message"], error


def test_an_ended_job_can_be_renamed_but_not_reprioritized(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id

    assert client.patch(f"/v1/jobs/{job_id}", json={"name": "the good one"}).json()["name"] == "the good one"
    refused = client.patch(f"/v1/jobs/{job_id}", json={"priority": 1})

    assert (refused.status_code, refused.json()["detail"]) == (409, "the job has ended: it is succeeded")
    assert client.patch("/v1/jobs/job_1", json={"name": "a"}).status_code == 404
