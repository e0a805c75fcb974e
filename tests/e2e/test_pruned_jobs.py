"""Jobs that a search has pruned train on to their own end, with the bits of jobs that were never stopped."""

from __future__ import annotations

from typing import Any

import httpx2

from bestepoch import Client

SPEC: dict[str, Any] = {
    "data": {"kind": "synthetic", "rows": 400},
    "architecture": {"hidden": [16], "dropout": 0.2},
    "schedule": {"kind": "cosine"},
    "early_stopping": None,
    "max_epochs": 9,
}


def test_a_pruned_job_is_revived_to_the_bits_of_a_job_that_was_never_stopped(
    service: httpx2.Client, client: Client
) -> None:
    grid = {"optimizer.lr": [0.0001, 0.001, 0.01, 0.03]}
    search = {"kind": "halving", "eta": 3, "min_epochs": 1}
    made = service.post("/v1/sweeps", json={"base": SPEC, "grid": grid, "search": search})
    assert made.status_code == 201, made.text
    sweep = client.sweep_of(made.json()["id"]).wait(60)
    pruned = list(client.jobs(sweep=sweep.id, status="pruned"))
    job = pruned[0]

    assert (sweep.state.status, len(pruned)) == ("finished", 3)
    assert job.state.epoch_limit == job.state.progress.epoch < 9
    assert job.state.best is not None
    assert job.wait(1).state.stop_reason == "pruned"
    assert job.resume().state.status in ("queued", "running")
    job.wait(60)
    calm = client.submit({**SPEC, "optimizer": {"lr": job.state.spec.optimizer.lr}}).wait(60)  # type: ignore[union-attr]
    assert (job.state.status, job.state.stop_reason, job.state.attempt) == ("succeeded", "max_epochs", 2)
    assert [row.model_copy(update={"seconds": 0.0}) for row in job.history()] == [
        row.model_copy(update={"seconds": 0.0}) for row in calm.history()
    ]
    assert job.state.best is not None
    assert calm.state.best is not None
    assert job.state.best.checkpoint is not None
    assert calm.state.best.checkpoint is not None
    assert job.state.best.checkpoint.sha256 == calm.state.best.checkpoint.sha256
    assert client.sweep_of(sweep.id).state.counts["pruned"] == 2  # type: ignore[index]
