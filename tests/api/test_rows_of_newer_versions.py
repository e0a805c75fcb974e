"""Rows stored by a newer version of the service are shown unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from service.domain.job import Job
from service.domain.status import Status
from service.store import schema
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory

NEW_SPECS: dict[str, dict[str, Any]] = {
    "a field": {"label_noise": 0.1},
    "a field further down": {"split": {"validation": 0.2, "purge_days": 3}},
    "a kind": {"architecture": {"kind": "transformer", "heads": 4}},
    "a value": {"precision": "float8"},
    "a monitor": {"early_stopping": {"rule": "patience", "monitor": "val_ece"}},
}


def rewrite(database: Database, job_id: str, **values: Any) -> None:
    with database.transaction() as connection:
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(values))


def make_newer(database: Database, job_id: str, new: dict[str, Any]) -> dict[str, Any]:
    """The job's spec as a newer version might have stored it."""
    with database.reading() as connection:
        spec = connection.scalar(select(schema.jobs.c.spec).where(schema.jobs.c.id == job_id))
    newer = {**spec, **new}
    rewrite(database, job_id, spec=newer)
    return newer


@both_databases
@pytest.mark.parametrize("what", NEW_SPECS)
def test_a_job_whose_spec_a_newer_version_wrote_is_shown_with_it_and_can_be_cancelled(
    client: TestClient, job_factory: JobFactory, what: str
) -> None:
    job = job_factory.queued()
    newer = make_newer(job_factory.database, job.id, NEW_SPECS[what])

    read = client.get(f"/v1/jobs/{job.id}")
    listed = client.get("/v1/jobs")
    changed = client.patch(f"/v1/jobs/{job.id}", json={"priority": 3})
    cancelled = client.post(f"/v1/jobs/{job.id}/cancel")

    assert [answer.status_code for answer in (read, listed, changed, cancelled)] == [200] * 4
    assert read.json()["spec"] == listed.json()["data"][0]["spec"] == cancelled.json()["spec"] == newer
    assert (changed.json()["priority"], cancelled.json()["status"]) == (3, "cancelled")
    assert Job.model_validate(read.json()).spec == newer  # the Python client reads it too
    assert client.delete(f"/v1/jobs/{job.id}").status_code == 204


def test_operations_that_need_the_spec_are_refused(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained()
    make_newer(job_factory.database, claim.job_id, NEW_SPECS["a field"])

    replayed = client.post(f"/v1/jobs/{claim.job_id}/early-stopping/replay", json={"rules": [{"patience": 3}]})

    assert (replayed.status_code, replayed.json()["code"]) == (409, "conflict")
    assert "a newer version" in replayed.json()["detail"]


def test_a_sweep_of_such_jobs_is_shown_and_can_be_cancelled(client: TestClient, database: Database) -> None:
    base = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}
    sweep = client.post("/v1/sweeps", json={"base": base, "replicates": 2}).json()["id"]
    with database.transaction() as connection:
        connection.execute(update(schema.jobs).values(spec={"data": {"kind": "stream"}}, status="hibernating"))
        connection.execute(update(schema.sweeps).values(monitor="val_ece"))

    read, listed = client.get(f"/v1/sweeps/{sweep}"), client.get("/v1/sweeps")
    results = client.get(f"/v1/sweeps/{sweep}/results")
    summary = client.get(f"/v1/sweeps/{sweep}/summary")
    cancelled = client.post(f"/v1/sweeps/{sweep}/cancel")

    answers = (read, listed, results, summary, cancelled)
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert (read.json()["monitor"], read.json()["counts"]["hibernating"]) == ("val_ece", 2)
    assert results.json()["data"][0]["status"] == "hibernating"


@both_databases
def test_unknown_stored_names_are_shown_unchanged(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    warning = {"code": "new", "message": "m", "pointer": "/data", "severity": "low"}
    rewrite(
        job_factory.database,
        claim.job_id,
        status="hibernating",
        stop_reason="too_warm",
        control="hibernate",
        warnings=[warning],
        error={"code": "too_warm", "message": "m", "hint": "h"},
        best_epoch=1,
        best_value=0.5,
        monitor="val_ece",
    )
    with job_factory.database.transaction() as connection:
        connection.execute(update(schema.events).values(kind="hibernated"))

    read = client.get(f"/v1/jobs/{claim.job_id}", params={"wait": 0.1})
    log = client.get(f"/v1/jobs/{claim.job_id}/events")

    assert (read.status_code, log.status_code) == (200, 200)
    job = read.json()
    assert (job["status"], job["stop_reason"], job["control"]) == ("hibernating", "too_warm", "hibernate")
    assert (job["error"]["code"], job["best"]["monitor"]) == ("too_warm", "val_ece")
    assert {event["kind"] for event in log.json()["data"]} == {"hibernated"}
    assert client.delete(f"/v1/jobs/{claim.job_id}").status_code == 409  # perhaps it is not over
    assert Status("hibernating") not in set(Status)


def test_requests_with_unknown_names_are_refused(client: TestClient) -> None:
    spec = {"data": {"kind": "synthetic"}, "early_stopping": {"monitor": "val_ece"}}

    listed = client.get("/v1/jobs", params={"status": "hibernating"})
    planned = client.post("/v1/jobs/plan", json=spec)

    assert (listed.status_code, planned.status_code) == (422, 422)
    assert listed.json()["detail"] == (
        "status should be 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled' or 'pruned'"
    )
    assert "/early_stopping" in planned.json()["errors"][0]["pointer"]


def test_a_data_set_of_which_a_newer_version_knows_more_is_shown(client: TestClient, database: Database) -> None:
    body = "size,kind,when\n" + "".join(f"{n},{'ab'[n % 2]},{n % 7}\n" for n in range(20))
    dataset = client.post("/v1/datasets", content=body, headers={"content-type": "text/csv"}).json()
    columns = [{**column, "skew": 0.1} for column in dataset["columns"]]
    columns[2]["type"] = "duration"
    read_as = {**dataset["read_as"], "format": "xlsx", "sheet": 1}
    with database.transaction() as connection:
        connection.execute(update(schema.datasets).values(columns=columns, read_as=read_as))

    read = client.get(f"/v1/datasets/{dataset['id']}")
    listed, short = client.get("/v1/datasets"), client.get("/v1/datasets", params={"columns": "false"})
    data = {"id": dataset["id"], "target": "kind"}
    planned = client.post("/v1/jobs/plan", json={"data": data})
    refused = client.post("/v1/jobs/plan", json={"data": {**data, "target": "when"}})

    assert [answer.status_code for answer in (read, listed, short, planned)] == [200] * 4
    assert (read.json()["read_as"]["format"], read.json()["columns"][2]["type"]) == ("xlsx", "duration")
    assert [column["column"] for column in planned.json()["inputs"]] == ["size"]
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/data/target")
    assert client.post("/v1/datasets", params={"format": "xlsx"}, content=body).status_code == 422
