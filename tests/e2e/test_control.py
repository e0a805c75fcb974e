"""A job that is set aside for another one, and goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from tests.processes import get, submit, until, wait_for_end

SPEC: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 1_000},
    "architecture": {"hidden": [16], "dropout": 0.2},
    "early_stopping": None,
    "max_epochs": 400,
}


def test_a_paused_job_frees_its_trainer_and_then_comes_to_the_same_end(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    undisturbed = train(SPEC)
    job_id = submit(service, SPEC)
    until(lambda: get(service, job_id)["progress"]["epoch"] > 0)

    assert service.post(f"/v1/jobs/{job_id}/pause").status_code in (200, 202)
    until(lambda: get(service, job_id)["status"] == "paused")
    assert train({**SPEC, "max_epochs": 2})["status"] == "succeeded"  # there is one trainer
    paused = get(service, job_id)
    assert (paused["status"], 0 < paused["progress"]["epoch"] < 400) == ("paused", True)
    assert service.post(f"/v1/jobs/{job_id}/resume").json()["status"] == "queued"

    ended = wait_for_end(service, f"/v1/jobs/{job_id}")
    assert (ended["status"], ended["attempt"], ended["failures"]) == ("succeeded", 2, 0)
    assert ended["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
    log = service.get(f"/v1/jobs/{job_id}/events").json()["data"]
    (resumed,) = (event for event in log if event["kind"] == "resumed")
    assert resumed["details"] == {"epoch": paused["progress"]["epoch"], "exact": True, "differs": {}}
