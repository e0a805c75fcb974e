"""Versions made of sweeps: the best point with all its folds, greedy ensembles, and metrics of the average."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.data.formats.prediction_table import PredictionTable
from service.domain.status import Status
from service.store import usage
from service.store.engine import Database
from service.store.jobs.attempt import AttemptRecord, BestSoFar, write
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from tests.api.job_factory import JobFactory, epoch, weights
from tests.api.test_models import publish
from tests.data.test_prediction_table import source
from tests.store import sweep_records
from tests.store.sweep_records import jobs_of

ROWS = 30  # of which the first 24 validate, in two folds, and 6 are for test
TRUTH = np.random.default_rng(0).normal(size=ROWS)


def predicted(rows: range, test: range, error: np.ndarray) -> PredictionTable:
    """Predictions that differ from the truth by `error`, (ROWS,)."""
    row = np.array([*rows, *test])
    return PredictionTable(source(None), row, len(rows), TRUTH[row], TRUTH[row] + error[row], None)


def trained(
    database: Database, job_factory: JobFactory, errors: list[np.ndarray], *, kept: bool = True, **fields: Any
) -> Any:
    """An ended sweep over learning rates, two folds each, whose jobs predict with these errors."""
    rates = [0.1 / (place + 1) for place in range(len(errors))]
    sweep = sweep_records.create(database, grid={"optimizer.lr": rates}, folds=2, **fields)
    for job in jobs_of(database, sweep):
        with database.transaction() as connection:
            (claim,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)
        assert job.point is not None
        place, fold = rates.index(job.point["optimizer.lr"]), job.point["split.fold"]
        loss = float(np.square(errors[place]).mean())
        best = BestSoFar(1, loss, {"val_loss": loss})
        with database.transaction() as connection:
            row = epoch(1, val_loss=loss)
            write(connection, "cpu", [AttemptRecord(claim.job_id, claim.attempt, [row], best)])
        job_factory.publish(claim, 1)
        if kept:
            rows = range(12 * (fold - 1), 12 * fold)
            job_factory.keep_predictions(claim, predicted(rows, range(24, ROWS), errors[place]))
        job_factory.finish(claim)
    return sweep_records.get(database, sweep)


def noise(seed: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=ROWS)


def test_best_takes_all_folds_of_the_best_point(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    errors = [noise(1, 2.0), noise(2, 0.5), noise(3, 1.0)]
    sweep = trained(database, job_factory, errors)

    version = publish(client, {"sweep": sweep.id}).json()

    best = [job.id for job in jobs_of(database, sweep) if job.point and job.point["optimizer.lr"] == 0.05]
    assert [(member["job"], member["weight"]) for member in version["members"]] == [(job, 0.5) for job in best]
    assert (version["from"]["sweep"], version["from"]["select"]) == (sweep.id, "best")
    validation, test = version["metrics"]["validation"], version["metrics"]["test"]
    assert (validation["rows"], test["rows"]) == (24, 6)
    assert validation["values"]["rmse"] == pytest.approx(np.sqrt(np.square(errors[1][:24]).mean()))
    assert test["values"]["rmse"] == pytest.approx(np.sqrt(np.square(errors[1][24:]).mean()))


def test_greedy_weights_points_by_their_out_of_fold_predictions(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    error = noise(1)
    sweep = trained(database, job_factory, [error, noise(2, 30.0), -error])

    version = publish(client, {"sweep": sweep.id, "select": "greedy"}).json()

    rates = {job.id: job.point["optimizer.lr"] for job in jobs_of(database, sweep) if job.point}
    shares = {(rates[member["job"]], member["weight"]) for member in version["members"]}
    assert shares == {(0.1, 0.25), (0.1 / 3, 0.25)}  # half each, in two folds
    assert len(version["members"]) == 4
    assert version["metrics"]["validation"]["values"]["rmse"] == pytest.approx(0.0, abs=1e-9)
    assert version["metrics"]["test"]["values"]["mae"] == pytest.approx(0.0, abs=1e-9)


def test_kept_predictions_are_kept_by_the_version(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep = trained(database, job_factory, [noise(1)])
    publish(client, {"sweep": sweep.id})

    def stored() -> int:
        with database.reading("default") as connection:
            return usage.read(connection).stored.job_files

    before = stored()
    for job in jobs_of(database, sweep):
        assert client.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert stored() == before > 0
    client.delete("/v1/models/churn/aliases/champion")
    client.delete("/v1/models/churn")
    assert stored() == 0


def test_greedy_needs_kept_predictions(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    sweep = trained(database, job_factory, [noise(1), noise(2)], kept=False)

    greedy = publish(client, {"sweep": sweep.id, "select": "greedy"})
    best = publish(client, {"sweep": sweep.id})

    assert (greedy.status_code, greedy.json()["errors"][0]["pointer"]) == (409, "/from/select")
    assert "has kept no predictions of validation rows" in greedy.json()["detail"]
    assert best.json()["metrics"] == {"validation": None, "test": None}


def test_greedy_of_a_single_point_compares_nothing(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep = trained(database, job_factory, [noise(1)], kept=False)

    version = publish(client, {"sweep": sweep.id, "select": "greedy"})

    assert version.status_code == 201, version.text
    assert [member["weight"] for member in version.json()["members"]] == [0.5, 0.5]


def test_greedy_compares_the_same_rows_only(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    sweep = sweep_records.create(database, grid={"data.seed": [0, 1]})
    for _ in jobs_of(database, sweep):
        with database.transaction() as connection:
            (claim,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)
        job_factory.record(claim, epoch(1))
        job_factory.publish(claim, 1)
        job_factory.finish(claim)

    response = publish(client, {"sweep": sweep.id, "select": "greedy"})

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/from/select")
    assert "the sweep changes 'data.seed'" in response.json()["detail"]


def test_greedy_averages_points_with_different_columns(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep, error = sweep_records.create(database, grid={"data.features": [1, 2]}), noise(1)
    for columns, sign in (("x0", 1), ("x0 x1", -1)):
        with database.transaction() as connection:
            (claim,) = claim_jobs(connection, Claimant("wrk_1", {"cpu"}, width=1, trainers=1), seconds=60.0)
        job_factory.record(claim, epoch(1))
        job_factory.publish(claim, 1, data=weights(1, features=columns))
        job_factory.keep_predictions(claim, predicted(range(24), range(24, ROWS), sign * error))
        job_factory.finish(claim)

    version = publish(client, {"sweep": sweep.id, "select": "greedy"})

    assert version.status_code == 201, version.text
    assert [member["weight"] for member in version.json()["members"]] == [0.5, 0.5]
    assert version.json()["features"] == ["x0", "x1"]


def test_a_damaged_file_of_predictions_is_named(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    sweep = trained(database, job_factory, [noise(1), noise(2)])
    for file in job_factory.artifacts.files():
        if file.key.startswith("jobs/"):
            job_factory.artifacts.path(file.key).write_bytes(b"PAR1")

    response = publish(client, {"sweep": sweep.id, "select": "greedy"})

    assert (response.status_code, response.json()["code"]) == (500, "predictions_corrupt")


@pytest.mark.parametrize(
    ("select", "pointer", "problem"),
    [
        ("greedy", "/from/sweep", "the sweep is too large for `greedy`"),
        ("best", "/from", "the predictions that the jobs have kept are too large for metrics of their average"),
    ],
)
def test_predictions_that_take_too_long_to_read_are_too_large_not_damaged(
    client: TestClient,
    database: Database,
    job_factory: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
    select: str,
    pointer: str,
    problem: str,
) -> None:
    sweep = trained(database, job_factory, [noise(1), noise(2)])
    settings = client.app.state.shared.settings  # type: ignore[attr-defined]
    monkeypatch.setitem(settings.__dict__, "max_ingest_seconds", 0.01)

    response = publish(client, {"sweep": sweep.id, "select": select})

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert response.json()["detail"] == f"{problem}: reading the file took longer than 0.01 seconds, the limit here"


@pytest.mark.parametrize(
    ("death", "status", "code"), [("KILL", 422, "invalid_spec"), ("SEGV", 500, "predictions_corrupt")]
)
def test_a_killed_reader_reached_a_limit_and_a_crashed_one_read_a_damaged_file(
    client: TestClient,
    database: Database,
    job_factory: JobFactory,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    death: str,
    status: int,
    code: str,
) -> None:
    sweep, dying = trained(database, job_factory, [noise(1), noise(2)]), tmp_path / "python"
    dying.write_text(f"#!/bin/sh\nkill -{death} $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))

    response = publish(client, {"sweep": sweep.id, "select": "greedy"})

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert ("MiB of memory, the limit here" in response.json()["detail"]) == (death == "KILL")


def test_a_sweep_without_results_is_refused(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    running = sweep_records.create(database, grid={"optimizer.lr": [0.1, 0.2]})
    cancelled = job_factory.swept()

    for sweep, problem in (
        (running, "the sweep is still running; wait until it has ended, or cancel it"),
        (cancelled, "no point of the sweep has a best epoch for each of its seeds and folds"),
    ):
        response = publish(client, {"sweep": sweep.id})
        assert (response.status_code, response.json()["detail"]) == (409, problem)
        assert response.json()["errors"][0]["pointer"] == "/from/sweep"


def test_a_point_that_lacks_a_fold_is_left_out(client: TestClient, database: Database, job_factory: JobFactory) -> None:
    sweep = trained(database, job_factory, [noise(1, 0.1), noise(2, 1.0)])
    first = next(job for job in jobs_of(database, sweep) if job.point and job.point["optimizer.lr"] == 0.1)
    assert first.status is Status.succeeded
    client.delete(f"/v1/jobs/{first.id}")

    version = publish(client, {"sweep": sweep.id}).json()

    assert {member["spec"]["optimizer"]["lr"] for member in version["members"]} == {0.05}
