"""The event log of a job."""

from __future__ import annotations

from starlette.testclient import TestClient

from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory


@both_databases
def test_the_event_log_is_in_order(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained()

    answer = client.get(f"/v1/jobs/{claim.job_id}/events").json()

    assert (answer["object"], answer["has_more"], answer["next"]) == ("list", False, None)
    assert [(event["number"], event["kind"], event["attempt"]) for event in answer["data"]] == [
        (1, "queued", 0),
        (2, "claimed", 1),
        (3, "best", 1),
        (4, "ended", 1),
    ]
    ended = answer["data"][-1]
    assert ended["message"] == "succeeded: early stopped"
    assert ended["details"] == {"status": "succeeded", "stop_reason": "early_stopped", "code": None}
    assert ended["at"].endswith("Z")


def test_the_event_log_is_paginated(client: TestClient, job_factory: JobFactory) -> None:
    path = f"/v1/jobs/{job_factory.trained().job_id}/events"

    kinds, after = [], 0
    while after is not None:
        page = client.get(path, params={"limit": 3, "after": after}).json()
        kinds.append([event["kind"] for event in page["data"]])
        after = page["next"]

    assert kinds == [["queued", "claimed", "best"], ["ended"]]


def test_the_event_log_of_a_missing_job_is_a_404(client: TestClient) -> None:
    assert client.get("/v1/jobs/job_1/events").status_code == 404
    for query in ("after=-1", "limit=0", "limit=1001", "after=x"):
        assert client.get(f"/v1/jobs/job_1/events?{query}").status_code == 422
