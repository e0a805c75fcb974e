"""Jobs on an uploaded table to be retrained, and the ends of those that retrain them."""

from __future__ import annotations

from typing import Any

import httpx2
from starlette.testclient import TestClient

from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import attempt
from service.store.jobs.attempt import AttemptRecord, BestSoFar, Outcome, write
from service.store.jobs.claim import Claim, claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.api.job_factory import JobFactory, epoch
from tests.data.test_prediction_table import table

ROWS = 200


def table_of(columns: list[str], rows: int = ROWS) -> bytes:
    """A table of numbers with the classes a and b."""
    lines = [",".join([*(str((i * (j + 3)) % 17 / 4) for j in range(len(columns))), "ab"[i % 2]]) for i in range(rows)]
    return "\n".join([",".join([*columns, "y"]), *lines, ""]).encode()


def claimed(database: Database) -> Claim:
    with database.transaction() as connection:
        return claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)[0]


def end(job_factory: JobFactory, claim: Claim, loss: float | None, status: Status = Status.succeeded) -> None:
    """The job ends after four epochs; `loss`: the log loss of its test and validation rows."""
    rows = [epoch(number, seconds=0.5) for number in range(1, 5)]
    metrics = {"val_loss": loss, "val_log_loss": loss}
    best = BestSoFar(4, 0.5, metrics)
    with job_factory.database.transaction() as connection:
        write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, rows, best)])
    job_factory.publish(claim, 4)
    with job_factory.database.transaction() as connection:
        outcome = Outcome(status, StopReason.early_stopped, {"loss": loss, "log_loss": loss})
        attempt.finish(connection, claim.job_id, claim.attempt, outcome)


def ended_job(
    client: TestClient | httpx2.Client, job_factory: JobFactory, columns: str = "a b c", **fields: Any
) -> str:
    """An ended job on an uploaded table."""
    rows = fields.pop("rows", ROWS)
    dataset = client.post("/v1/datasets", content=table_of(columns.split(), rows)).json()["id"]
    data = {"kind": "dataset", "id": dataset, "target": "y"}
    answer = client.post("/v1/jobs", json={"data": data, "split": {"test": 0.2}, "max_epochs": 20, **fields})
    assert answer.status_code == 201, answer.text
    claim = claimed(job_factory.database)
    job_factory.keep_predictions(claim, table(("a", "b"), 5, 3))
    end(job_factory, claim, 0.5)
    return f"/v1/jobs/{claim.job_id}"
