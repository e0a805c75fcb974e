"""The kept predictions of a job: pages, files, parts, and why there are none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from starlette.testclient import TestClient

from service.data.formats.prediction_table import PredictionTable
from service.domain.event import EventKind
from service.domain.status import Status
from service.spec.table import Value
from service.store.jobs import attempt, events
from service.store.jobs.claim import Claim
from service.store.jobs.events import NewEvent
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.data.test_prediction_table import CLASSES as CLASSES_OF_TYPES
from tests.data.test_prediction_table import table

PARQUET = "application/vnd.apache.parquet"
CLASSES = ("it's", "b")
TYPES = ("VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE")


def kept(
    job_factory: JobFactory,
    classes: Any = CLASSES,
    validation: int = 5,
    test: int = 3,
    predictions: PredictionTable | None = None,
    **fields: Any,
) -> tuple[str, bytes]:
    """The path of the predictions of an ended job, and its file."""
    claim = job_factory.running(**fields)
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
    data = job_factory.keep_predictions(claim, predictions or table(classes, validation, test))
    job_factory.finish(claim)
    return f"/v1/jobs/{claim.job_id}/predictions", data


@both_databases
def test_predictions_name_row_part_truth_and_probabilities(client: TestClient, job_factory: JobFactory) -> None:
    path, _ = kept(job_factory)
    stored = table(CLASSES, 5, 3)

    page = client.get(path).json()

    assert (page["object"], page["has_more"], page["next"]) == ("list", False, None)
    assert page["checkpoint"] == {"epoch": stored.source.epoch, "sha256": stored.source.sha256}
    assert [each["row"] for each in page["data"]] == stored.row.tolist()
    assert [each["part"] for each in page["data"]] == ["validation"] * 5 + ["test"] * 3
    assert [each["truth"] for each in page["data"]] == [CLASSES[i] for i in stored.truth]
    assert stored.probabilities is not None
    assert page["data"][0] == {
        "row": int(stored.row[0]),
        "part": "validation",
        "truth": CLASSES[stored.truth[0]],
        "prediction": CLASSES[stored.prediction[0]],
        "probabilities": dict(zip(CLASSES, stored.probabilities[0].tolist(), strict=True)),
    }


def test_predictions_of_numbers_have_no_probabilities(client: TestClient, job_factory: JobFactory) -> None:
    path, _ = kept(job_factory, classes=None)
    stored = table(None, 5, 3)

    data = client.get(path).json()["data"]

    assert [each["prediction"] for each in data] == stored.prediction.tolist()
    assert [each["truth"] for each in data] == stored.truth.tolist()
    assert all("probabilities" not in each for each in data)


@pytest.mark.parametrize(("part", "rows"), [(None, range(8)), ("validation", range(5)), ("test", range(5, 8))])
def test_pages_are_all_rows_of_a_part_in_order(
    client: TestClient, job_factory: JobFactory, part: str | None, rows: range
) -> None:
    path, _ = kept(job_factory)
    wanted, seen, page = {"part": part} if part else {}, list[int](), {"next": 0}

    while page["next"] is not None:
        page = client.get(path, params={"offset": page["next"], "limit": 3, **wanted}).json()
        seen += [each["row"] for each in page["data"]]

    assert seen == table(CLASSES, 5, 3).row[rows.start : rows.stop].tolist()


def test_a_page_of_many_classes_has_fewer_rows_than_asked_for(client: TestClient, job_factory: JobFactory) -> None:
    path, _ = kept(job_factory, tuple(f"c{i}" for i in range(400)), validation=300, test=0)

    page = client.get(path, params={"limit": 1_000}).json()

    assert (len(page["data"]), page["has_more"], page["next"]) == (100_000 // 404, True, 100_000 // 404)


KINDS: list[tuple[tuple[Value, ...] | None, str]] = [*zip(CLASSES_OF_TYPES, TYPES, strict=False), (None, "DOUBLE")]


@pytest.mark.parametrize(("classes", "kind"), KINDS)
def test_the_parquet_file_has_values_of_the_data_and_a_column_for_each_class(
    client: TestClient, job_factory: JobFactory, tmp_path: Path, classes: tuple[Value, ...] | None, kind: str
) -> None:
    path, _ = kept(job_factory, classes)
    stored = table(classes, 5, 3)

    response = client.get(path, headers={"Accept": PARQUET})

    assert response.headers["content-type"] == PARQUET
    name = path.split("/")[3]
    assert response.headers["content-disposition"] == f'attachment; filename="{name}-predictions.parquet"'
    (tmp_path / "file").write_bytes(response.content)
    found = duckdb.read_parquet(str(tmp_path / "file"))
    assert list(map(str, found.types)) == ["BIGINT", "VARCHAR", kind, kind, *["FLOAT"] * len(classes or ())]
    truth = stored.truth.tolist() if classes is None else [classes[i] for i in stored.truth]
    assert [row[2] for row in found.fetchall()] == truth


def test_a_number_beyond_float64_is_missing(client: TestClient, job_factory: JobFactory, tmp_path: Path) -> None:
    beyond = replace(table(None, 1, 1), prediction=np.array([np.inf, 1.0]))
    path, _ = kept(job_factory, None, predictions=beyond)

    (tmp_path / "file").write_bytes(client.get(path, headers={"Accept": PARQUET}).content)

    assert [row[3] for row in duckdb.read_parquet(str(tmp_path / "file")).fetchall()] == [None, 1.0]
    assert [row["prediction"] for row in client.get(path).json()["data"]] == [None, 1.0]


@pytest.mark.parametrize(("part", "rows"), [(None, range(8)), ("validation", range(5)), ("test", range(5, 8))])
def test_csv_and_parquet_have_the_rows_of_the_part(
    client: TestClient, job_factory: JobFactory, tmp_path: Path, part: str | None, rows: range
) -> None:
    path, _ = kept(job_factory)
    wanted, stored = {"part": part} if part else {}, table(CLASSES, 5, 3)

    text = client.get(path, params=wanted, headers={"Accept": "text/csv"})
    (tmp_path / "answer").write_bytes(client.get(path, params=wanted, headers={"Accept": PARQUET}).content)

    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    header, *lines = csv.reader(text.text.splitlines())
    found = duckdb.read_parquet(str(tmp_path / "answer"))
    assert header == found.columns
    assert header == ["row", "part", "truth", "prediction", *(f"probability of {name}" for name in CLASSES)]
    assert [int(line[0]) for line in lines] == stored.row[rows.start : rows.stop].tolist()
    assert [line[:4] for line in lines] == [[str(cell) for cell in row[:4]] for row in found.fetchall()]
    assert stored.probabilities is not None
    shares = np.array([line[4:] for line in lines], np.float32)
    np.testing.assert_array_equal(shares, stored.probabilities[rows.start : rows.stop])


@pytest.mark.parametrize("asked", [{"part": "train"}, {"offset": -1}, {"limit": 0}, {"limit": 10_001}])
def test_a_bad_parameter_is_a_422_that_names_it(
    client: TestClient, job_factory: JobFactory, asked: dict[str, Any]
) -> None:
    path, _ = kept(job_factory)

    response = client.get(path, params=asked)

    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == next(iter(asked))


def trained_for_an_epoch(job_factory: JobFactory) -> Claim:
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
    return claim


def ended_without(job_factory: JobFactory, reason: str | None = None) -> Claim:
    claim = trained_for_an_epoch(job_factory)
    if reason is not None:
        with job_factory.database.transaction() as connection:
            events.append(connection, [NewEvent(claim.job_id, EventKind.predictions_not_kept, reason)])
    job_factory.finish(claim)
    return claim


@both_databases
def test_without_predictions_the_answer_says_why(client: TestClient, job_factory: JobFactory) -> None:
    running, bare = job_factory.running(), job_factory.running()
    job_factory.finish(bare, Status.failed)
    answers = [
        client.get(f"/v1/jobs/{job_id}/predictions")
        for job_id in (
            running.job_id,
            bare.job_id,
            ended_without(job_factory).job_id,
            ended_without(job_factory, "predictions not kept: the disk is full").job_id,
            "job_0",
        )
    ]

    assert [answer.status_code for answer in answers] == [409, 404, 404, 404, 404]
    assert [answer.json()["detail"] for answer in answers] == [
        "the job is running; its predictions are stored when it ends",
        "the job has no predictions: it is failed without a best epoch",
        "the job has no predictions: it has no validation and test rows, the worker's BESTEPOCH_KEEP leaves them out, "
        "or it was trained by an older version",
        "predictions not kept: the disk is full",
        "no job 'job_0'",
    ]


@both_databases
def test_jobs_that_ended_without_a_trainer_say_so(client: TestClient, job_factory: JobFactory) -> None:
    cancelled, failed = (trained_for_an_epoch(job_factory) for _ in range(2))
    client.post(f"/v1/jobs/{cancelled.job_id}/pause")
    with job_factory.database.transaction() as connection:
        attempt.release(connection, cancelled.job_id, cancelled.attempt)
    assert client.post(f"/v1/jobs/{cancelled.job_id}/cancel").json()["status"] == "cancelled"
    job_factory.finish(failed, Status.failed)

    answers = [client.get(f"/v1/jobs/{claim.job_id}/predictions") for claim in (cancelled, failed)]

    rest = (
        "it has no validation and test rows, the worker's BESTEPOCH_KEEP leaves them out, "
        "or it was trained by an older version"
    )
    assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [
        (404, f"the job has no predictions: it was cancelled while no worker was training it, {rest}"),
        (404, f"the job has no predictions: its training failed with an error, {rest}"),
    ]


@pytest.mark.parametrize(
    ("damage", "accept"),
    [(damage, accept) for damage in ("missing", "truncated") for accept in ("application/json", "text/csv", PARQUET)],
)
def test_a_missing_or_damaged_file_is_a_500_with_a_code(
    client: TestClient, job_factory: JobFactory, accept: str, damage: str
) -> None:
    path, data = kept(job_factory)
    (file,) = [file.key for file in job_factory.artifacts.files() if file.key.startswith("jobs/")]
    if damage == "missing":
        job_factory.artifacts.delete(file)
    else:
        job_factory.artifacts.path(file).write_bytes(data[:-20])

    response = client.get(path, headers={"Accept": accept})

    assert (response.status_code, response.json()["code"]) == (500, "predictions_corrupt")


@both_databases
def test_predictions_count_as_stored_bytes_until_the_job_is_deleted(
    client: TestClient, job_factory: JobFactory
) -> None:
    before = client.get("/v1/usage").json()["stored"]
    path, data = kept(job_factory)
    after = client.get("/v1/usage").json()["stored"]

    assert after["job_files"] - before["job_files"] == len(data)
    assert client.delete(path.removesuffix("/predictions")).status_code == 204
    assert client.get("/v1/usage").json()["stored"]["job_files"] == before["job_files"]
    assert client.get(path).status_code == 404
