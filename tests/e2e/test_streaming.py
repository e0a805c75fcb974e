"""A table that does not fit into the memory of a job: planned, streamed from disk, predicted and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import running_service
from tests.processes import get, submit, until

ROWS, COLUMNS, VALUES = 60_000, 16, 50
MEMORY = 900 * 10**6


@pytest.fixture(scope="module")
def table() -> bytes:
    """Texts with 50 values each, which take 800 inputs, and a class that the first ones decide."""
    names = ",".join(f"x{i}" for i in range(COLUMNS))
    lines = [names + ",y"]
    for row in range(ROWS):
        values = [(row * (2 * i + 7) + row // VALUES) % VALUES for i in range(COLUMNS)]
        lines.append(",".join(f"v{value}" for value in values) + f",{'ab'[(values[0] > 25) ^ (values[1] > 25)]}")
    return "\n".join(lines).encode()


def until_ended(client: httpx2.Client, job: str) -> dict[str, Any]:
    until(lambda: get(client, job)["status"] not in ("queued", "running"), 180)
    ended: dict[str, Any] = get(client, job)
    return ended


def test_a_table_beyond_the_memory_of_a_job_is_streamed(tmp_path: Path, table: bytes) -> None:
    with running_service(tmp_path, BESTEPOCH_TRAINERS="1", BESTEPOCH_MAX_JOB_BYTES=str(MEMORY)) as client:
        headers = {"Content-Type": "text/csv"}
        dataset = client.post("/v1/datasets", content=table, headers=headers, timeout=60).raise_for_status().json()
        spec: dict[str, Any] = {
            "data": {"kind": "dataset", "id": dataset["id"], "target": "y"},
            "split": {"test": 0.05},
            "architecture": {"hidden": [16]},
            "batch_size": 512,
            "max_epochs": 3,
        }
        plan = client.post("/v1/jobs/plan", json=spec).raise_for_status().json()
        refused = client.post("/v1/jobs/plan", json={**spec, "data": {**spec["data"], "streaming": "off"}})

        job = submit(client, spec)
        ended = until_ended(client, job)
        rows = [{f"x{i}": f"v{i}" for i in range(COLUMNS)}]
        predicted = client.post(f"/v1/jobs/{job}/predict", json={"rows": rows})
        report = client.get(f"/v1/jobs/{job}/report", timeout=120)

    assert plan["row_access"]["mode"] == "disk"
    assert plan["memory_bytes"] < MEMORY
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/data")
    assert ended["status"] == "succeeded", ended
    assert ended["spec"]["data"]["streaming"] == {"window_rows": plan["row_access"]["window_rows"]}
    assert ended["best"]["metrics"]["val_accuracy"] > 0.9
    assert predicted.status_code == 200
    assert report.status_code == 200
