"""The kept predictions of a job: pages, files, parts, and why there are none."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from starlette.testclient import TestClient

from service.domain.event import EventKind
from service.domain.status import Status
from service.store.jobs import events
from service.store.jobs.claim import Claim
from service.store.jobs.events import NewEvent
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.data.test_prediction_table import table

PARQUET = "application/vnd.apache.parquet"
CLASSES = ("it's", "b")


def kept(job_factory: JobFactory, classes: Any = CLASSES, validation: int = 5, test: int = 3) -> tuple[str, bytes]:
    """The path of the predictions of an ended job, and its file."""
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
    data = job_factory.keep_predictions(claim, table(classes, validation, test))
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


@both_databases
def test_the_parquet_file_is_sent_as_it_is_stored(client: TestClient, job_factory: JobFactory) -> None:
    path, data = kept(job_factory)
    asked = {"Accept": PARQUET}

    response = client.get(path, headers=asked)

    assert (response.status_code, response.content) == (200, data)
    assert response.headers["content-type"] == PARQUET
    etag = response.headers["etag"]
    assert etag == f'"{hashlib.sha256(data).hexdigest()}"'
    assert client.get(path, headers={**asked, "If-None-Match": etag}).status_code == 304
    assert client.get(path, headers={**asked, "Range": "bytes=10-19"}).content == data[10:20]
    name = path.split("/")[3]
    assert response.headers["content-disposition"] == f'attachment; filename="{name}-predictions.parquet"'


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


def ended_without(job_factory: JobFactory, reason: str | None = None) -> Claim:
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
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


@pytest.mark.parametrize(
    ("damage", "accept"),
    [
        *(("missing", accept) for accept in ("application/json", "text/csv", PARQUET)),
        *(
            ("truncated", accept) for accept in ("application/json", "text/csv")
        ),  # clients compare a Parquet file's hash
    ],
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
