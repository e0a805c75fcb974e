"""Endpoints below a job check that it exists without reading all of it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.store.jobs import jobs
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory

PATHS = ("history", "events", "checkpoints", "checkpoints/best", "checkpoints/best/download")


@both_databases
def test_a_404_and_a_200_below_a_job_read_no_full_job(
    client: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_factory.trained().job_id

    def read_in_full(*_: Any) -> None:
        raise AssertionError("the full job was read")

    monkeypatch.setattr(jobs, "get", read_in_full)
    for path in PATHS:
        assert client.get(f"/v1/jobs/{job_id}/{path}").status_code == 200
        missing = client.get(f"/v1/jobs/job_0/{path}")
        assert (missing.status_code, missing.json()["detail"]) == (404, "no job 'job_0'")
    assert client.get("/v1/jobs/job_0/history", headers={"Accept": "text/csv"}).status_code == 404
    assert client.get("/v1/jobs/job_0/stream").status_code == 404
