"""Machines that share a database and a bucket alone: jobs outlive an outage of the bucket, and nothing is lost."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest

from tests.faults.teams import Team
from tests.object_store import BUCKET, ENVIRONMENT, FaultProxy, Outage, s3_port
from tests.processes import get, linux_only, submit, until

OUTAGE_SECONDS = 40.0  # longer than a request is repeated
EPOCHS = 500  # seconds, less than the outage


@linux_only
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_jobs_that_end_while_the_store_is_down_succeed_when_it_is_back(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage()
    proxy = FaultProxy(s3_port(), outage)
    store = {**ENVIRONMENT, "AWS_ENDPOINT_URL": proxy.url}
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    team = Team(database_url, tmp_path / "api", **store, BESTEPOCH_ARTIFACTS_URL=url)
    with team.at_work(workers=0):
        team.environment["BESTEPOCH_HOME"] = str(tmp_path / "worker")  # another machine
        team.start("worker")
        rows = "".join(f"{number},{number % 7 > 3}\n" for number in range(2_000))
        dataset = team.client.post("/v1/datasets", content=f"a,b\n{rows}".encode()).raise_for_status().json()
        data = {"kind": "dataset", "id": dataset["id"], "target": "b"}
        common = {"data": data, "early_stopping": None, "architecture": {"hidden": [8]}}
        ids = [submit(team.client, {**common, "max_epochs": EPOCHS, "seed": seed}) for seed in range(4)]
        until(lambda: any(get(team.client, job_id)["progress"]["epoch"] for job_id in ids), 120)

        outage.down = True
        began = time.monotonic()
        until(lambda: team.client.get("/readyz").status_code == 503)
        refused = team.client.get(f"/v1/datasets/{dataset['id']}/download")
        time.sleep(max(began + OUTAGE_SECONDS - time.monotonic(), 0.0))
        during = [get(team.client, job_id)["status"] for job_id in ids]
        outage.down = False

        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert set(during) == {"running"}  # trained, and waiting for the store
        for job_id in ids:
            ended = until(lambda job_id=job_id: (job := get(team.client, job_id))["finished_at"] and job, 120)
            assert (ended["status"], ended["progress"]["epoch"], ended["attempt"]) == ("succeeded", EPOCHS, 1)
            assert team.client.get(f"/v1/jobs/{job_id}/checkpoints/best/download").status_code == 200
        until(lambda: team.client.get("/readyz").status_code == 200)
        assert team.problems() == []
    proxy.close()
