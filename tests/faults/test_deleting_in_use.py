"""Deletion of objects in use: refused, or invisible to current readers."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.faults.teams import Team
from tests.faults.test_resuming import ended
from tests.processes import get, submit, until


def test_a_download_completes_although_its_file_is_deleted(team: Team) -> None:
    client = team.client
    table = b"a,b\n" + b"".join(b"%d,%d\n" % (number * 7919 % 10_007, number % 2) for number in range(400_000))
    dataset = client.post("/v1/datasets", content=table).json()
    wide = {"kind": "mlp", "hidden": [2_000, 2_000]}
    data = {"kind": "synthetic", "rows": 200}
    job = ended(client, submit(client, {"data": data, "architecture": wide, "max_epochs": 1}))

    for path, of in (
        (f"/v1/datasets/{dataset['id']}/download?format=csv", f"/v1/datasets/{dataset['id']}"),
        (job["best"]["checkpoint"]["download_url"], f"/v1/jobs/{job['id']}"),
    ):
        whole = client.get(path)
        received = hashlib.sha256()
        with client.stream("GET", path) as response:
            parts = response.iter_bytes(1_000)
            received.update(next(parts))
            assert client.delete(of).status_code == 204
            for part in parts:
                received.update(part)
        assert received.hexdigest() == hashlib.sha256(whole.content).hexdigest()
        assert client.get(path).status_code == 404
    assert team.problems() == []


def test_the_data_set_of_a_live_job_cannot_be_deleted(team: Team) -> None:
    client = team.client
    table = b"a,b\n" + b"".join(b"%d,%d\n" % (number, number % 2) for number in range(2_000))
    dataset = client.post("/v1/datasets", content=table).json()
    endless: dict[str, Any] = {"max_epochs": 1_000_000, "early_stopping": None}
    job_id = submit(client, {"data": {"kind": "dataset", "id": dataset["id"], "target": "b"}, **endless})

    def refused() -> None:
        for path in (f"/v1/datasets/{dataset['id']}", f"/v1/jobs/{job_id}"):
            assert client.delete(path).status_code == 409

    refused()
    until(lambda: get(client, job_id)["progress"]["epoch"])
    refused()
    client.post(f"/v1/jobs/{job_id}/pause")
    until(lambda: get(client, job_id)["status"] == "paused")
    refused()
    client.post(f"/v1/jobs/{job_id}/cancel")

    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert team.problems() == []
