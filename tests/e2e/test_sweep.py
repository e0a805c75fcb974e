"""A sweep from outside: one request, twelve networks, a leaderboard."""

from __future__ import annotations

import csv

import httpx2

from tests.processes import wait_for_end

BASE = {
    "data": {"kind": "synthetic", "rows": 300, "features": 4, "signal": 3.0},
    "architecture": {"hidden": [8]},
    "max_epochs": 15,
}


def test_twelve_jobs_of_one_sweep_are_trained_and_ranked(service: httpx2.Client) -> None:
    asked = {"base": BASE, "grid": {"optimizer.lr": [0.0001, 0.01], "batch_size": [16, 64]}, "replicates": 3}

    created = service.post("/v1/sweeps", json=asked)
    sweep = wait_for_end(service, created.headers["location"])

    assert (created.status_code, sweep["status"], sweep["counts"]["succeeded"]) == (201, "finished", 12)
    path = f"/v1/sweeps/{sweep['id']}"
    rows = service.get(f"{path}/results").json()["data"]
    jobs = {job["id"]: job for job in service.get("/v1/jobs", params={"sweep": sweep["id"]}).json()["data"]}
    assert {row["job"]: row["value"] for row in rows} == {job_id: job["best"]["value"] for job_id, job in jobs.items()}
    assert [row["value"] for row in rows] == sorted(row["value"] for row in rows)
    assert (sweep["best"]["job"], sweep["best"]["value"]) == (rows[0]["job"], rows[0]["value"])
    assert all(row["point"]["seed"] == jobs[row["job"]]["spec"]["seed"] for row in rows)
    text = service.get(f"{path}/results", headers={"Accept": "text/csv"}).text
    assert [row["job"] for row in csv.DictReader(text.splitlines())] == [row["job"] for row in rows]
    points = service.get(f"{path}/summary").json()["data"]
    assert [point["value"]["n"] for point in points] == [3, 3, 3, 3]
    assert [point["point"]["optimizer.lr"] for point in points] == [0.01, 0.01, 0.0001, 0.0001]
