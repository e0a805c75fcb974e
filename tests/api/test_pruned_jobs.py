"""Jobs that their sweep has pruned: ended for every client, and revived by one."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.store.jobs import actions, attempt
from service.store.jobs.claim import Claim
from tests.api.job_factory import JobFactory, epoch
from tests.store.records import claim, submit_limited


@pytest.fixture
def pruned(job_factory: JobFactory) -> Claim:
    """A job that was pruned at its limit, 3 epochs, with state and best published."""
    submit_limited(job_factory.database, 3)
    (taken,) = claim(job_factory.database)
    job_factory.record(taken, epoch(1), epoch(2), epoch(3))
    job_factory.publish(taken, 3)
    job_factory.publish(taken, 3, CheckpointKind.state)
    with job_factory.database.transaction(DEFAULT_TENANT) as connection:
        attempt.release(connection, taken.job_id, taken.attempt)
        actions.prune(connection, [taken.job_id], "not among the best")
    return taken


def test_a_pruned_job_has_ended(client: TestClient, pruned: Claim) -> None:
    job = client.get(f"/v1/jobs/{pruned.job_id}", params={"wait": 60}).json()

    assert (job["status"], job["stop_reason"], job["trial"], job["epoch_limit"]) == ("pruned", "pruned", 1, 3)
    assert job["finished_at"] is not None
    assert [each["id"] for each in client.get("/v1/jobs?status=pruned").json()["data"]] == [pruned.job_id]
    with client.stream("GET", f"/v1/jobs/{pruned.job_id}/stream") as stream:
        assert "event: end" in "".join(stream.iter_text())
    assert client.get(f"/v1/jobs/{pruned.job_id}/checkpoints/best/download").status_code == 200
    kept = client.get(f"/v1/jobs/{pruned.job_id}/predictions")
    assert kept.status_code == 404
    assert "its sweep pruned it; once resumed, it trains to its end" in kept.json()["detail"]
    found = client.get("/metrics").text
    assert 'bestepoch_jobs{code="",status="pruned",stop_reason="pruned"} 1.0' in found
    assert client.delete(f"/v1/jobs/{pruned.job_id}").status_code == 204


@pytest.mark.parametrize("what", ["pause", "cancel"])
def test_a_pruned_job_is_neither_paused_nor_cancelled(client: TestClient, pruned: Claim, what: str) -> None:
    refused = client.post(f"/v1/jobs/{pruned.job_id}/{what}")

    assert refused.status_code == 409
    assert "pruned" in refused.json()["detail"]


def test_a_pruned_job_is_revived_by_resume(client: TestClient, pruned: Claim) -> None:
    revived = client.post(f"/v1/jobs/{pruned.job_id}/resume")

    job = revived.json()
    assert (revived.status_code, job["status"], job["stop_reason"]) == (200, "queued", None)
    assert (job["epoch_limit"], job["finished_at"], job["progress"]["epoch"]) == (None, None, 3)
    log = client.get(f"/v1/jobs/{pruned.job_id}/events").json()["data"]
    assert [event["kind"] for event in log][-3:] == ["paused", "ended", "revived"]
    assert client.post(f"/v1/jobs/{pruned.job_id}/resume").json()["status"] == "queued"
    assert client.delete(f"/v1/jobs/{pruned.job_id}").status_code == 409


def test_a_fork_of_a_pruned_job_takes_over_its_history_and_no_limit(client: TestClient, pruned: Claim) -> None:
    forked = client.post(f"/v1/jobs/{pruned.job_id}/fork", json={"changes": {"max_epochs": 8}})

    job = forked.json()
    assert (forked.status_code, job["status"], job["progress"]["epoch"]) == (201, "queued", 3)
    assert (job["trial"], job["epoch_limit"], job["sweep"]) == (None, None, None)


def test_a_version_of_a_model_may_have_a_pruned_member(client: TestClient, pruned: Claim) -> None:
    made = client.post("/v1/models", json={"name": "quick", "from": {"job": pruned.job_id}})

    assert (made.status_code, [member["job"] for member in made.json()["members"]]) == (201, [pruned.job_id])
