"""Predictions for CSV and Parquet files, by a real network in the real helper process."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.data.preprocess.dataset import prepare
from service.serving.predictor import Predictor
from service.settings import Settings
from service.spec.job import JobSpec
from service.spec.resolve import inline_profile, resolve
from service.store.engine import Database
from service.training.checkpoint import Metadata, to_bytes
from service.training.loop import Training
from tests.api.job_factory import JobFactory
from tests.data.files import FAULTS, parquet
from tests.examples import some

pytestmark = pytest.mark.e2e

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"


def weights(y: list[Any], **fields: Any) -> bytes:
    """The checkpoint of a network trained on two numbers."""
    data = {"kind": "inline", "x": [[float(i % 7), float(i)] for i in range(40)], "y": y}
    spec = JobSpec.model_validate({"data": data, "max_epochs": 3, **fields})
    resolved = resolve(spec, inline_profile(spec.data))  # type: ignore[arg-type]
    rows = prepare(resolved.preparation, None)
    training = Training([resolved], rows, torch.device("cpu"))
    *_, (last,) = training
    return to_bytes(training.best_state(0), Metadata.of(resolved, rows.preprocessing, last.row))


@pytest.fixture(scope="module")
def classes() -> bytes:
    return weights(["a, b" if i % 2 else 'c "d"' for i in range(40)])


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    running = Predictor()
    yield running
    running.close()


@pytest.fixture
def client(settings: Settings, database: Database, artifacts: Artifacts, predictor: Predictor) -> Iterator[TestClient]:
    with TestClient(create_app(settings, database, artifacts, predictor)) as client:
        yield client


@pytest.fixture
def job(job_factory: JobFactory, classes: bytes) -> str:
    claim = job_factory.running()
    job_factory.publish(claim, 3, data=classes)
    return claim.job_id


def send(client: TestClient, job: str, content: bytes | str, content_type: str = CSV) -> Any:
    return client.post(f"/v1/jobs/{job}/predict", content=content, headers={"Content-Type": content_type})


def scratch(artifacts: Artifacts) -> list[Path]:
    return list(artifacts.path("tmp").iterdir())


def test_a_csv_file_is_predicted_as_csv_with_the_values_of_json(
    client: TestClient, job: str, artifacts: Artifacts
) -> None:
    rows = [{"x0": i * 0.37, "x1": None if i % 5 == 0 else i} for i in range(300)]
    file = "x1,name,x0\n" + "".join(
        f"{'' if r['x1'] is None else r['x1']},n{i},{r['x0']}\n" for i, r in enumerate(rows)
    )

    response = send(client, job, file)

    expected = client.post(f"/v1/jobs/{job}/predict", json={"rows": rows}).json()
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, CSV)
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["checkpoint-epoch"] == "3"
    assert response.headers["checkpoint-sha256"] == expected["checkpoint"]["sha256"]
    assert [
        {
            "prediction": row.pop("prediction"),
            "probabilities": {k.removeprefix("probability of "): float(v) for k, v in row.items()},
        }
        for row in csv.DictReader(io.StringIO(response.text))
    ] == expected["predictions"]
    assert scratch(artifacts) == []


def test_a_parquet_file_is_predicted_as_parquet(client: TestClient, job: str, tmp_path: Path) -> None:
    file = parquet("SELECT range * 0.5 AS x0, 'z' AS other, range AS x1 FROM range(4000)")

    response = send(client, job, file, PARQUET)

    assert (response.status_code, response.headers["content-type"]) == (200, PARQUET)
    (tmp_path / "answer").write_bytes(response.content)
    answer = duckdb.read_parquet(str(tmp_path / "answer"))
    assert answer.columns == ["prediction", "probability of a, b", 'probability of c "d"']
    assert answer.types == ["VARCHAR", "DOUBLE", "DOUBLE"]
    assert len(answer) == 4_000
    rows = [{"x0": i * 0.5, "x1": i} for i in range(3_990, 4_000)]
    json = client.post(f"/v1/jobs/{job}/predict", json={"rows": rows}).json()["predictions"]
    assert [(a["prediction"], *a["probabilities"].values()) for a in json] == answer.fetchall()[3_990:]


def test_predictions_of_a_regression_are_numbers(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 1, data=weights([i * 1.5 for i in range(40)], task="regression"))

    response = send(client, claim.job_id, "x0;x1\n1,5;2\n0;3\n")

    header, *lines = response.text.splitlines()
    assert header == "prediction"
    assert len(list(map(float, lines))) == 2


def test_a_number_beyond_float64_is_left_empty(client: TestClient, job_factory: JobFactory) -> None:
    y = [i * 1e300 for i in range(40)]
    plain = {"task": "regression", "preprocess": {"numeric": "none"}, "architecture": {"hidden": []}}
    claim = job_factory.running()
    job_factory.publish(claim, 1, data=weights(y, **plain))

    lines = send(client, claim.job_id, "x0,x1\n1e300,1e300\n1,1\n").text.splitlines()

    assert lines[1] in ("", '""')
    assert float(lines[2])


def test_classes_that_differ_only_in_case_have_separate_columns(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.publish(claim, 1, data=weights(["a" if i % 2 else "A" for i in range(40)]))

    text = send(client, claim.job_id, "x0,x1\n1,2\n").text

    assert text.splitlines()[0] == "prediction,probability of A,probability of a_1"


@pytest.mark.sampled
@pytest.mark.parametrize(
    "content",
    some(
        [
            "x1;name;x0\n2;a;1,5\n\n4;b;-3\n",
            "x1\tx0\r\n2\t1.5\r\n4\t-3\r\n",
            'x0|x1|"a | name"\n"1.5"|2|\n"-3"|"4"|"says ""no"", twice\nover"\n',
            "'x0','x1'\n'1.5','2'\n'-3','4'",
            "\ufeff\nx0,y,x1\n1.5,no,2\n-3,no,4\n",
        ],
        2,
    ),
)
def test_predictions_do_not_depend_on_the_csv_dialect(client: TestClient, job: str, content: str) -> None:
    plain = send(client, job, "x0,x1\n1.5,2\n-3,4\n")

    response = send(client, job, content)

    assert (response.status_code, response.text) == (200, plain.text)


def test_compressed_files_and_other_encodings_are_read_like_uploads(client: TestClient, job: str) -> None:
    plain = "x0,x1,größe\n1,2,ä\n"

    answers = {
        send(client, job, content, content_type).text
        for content, content_type in [
            (plain, CSV),
            (gzip.compress(plain.encode()), CSV),
            (plain.encode("utf-16"), CSV),
            (plain.encode("cp1252"), "text/csv; charset=windows-1252"),
            (plain.encode("cp1252"), 'Text/CSV; header=present; charset="ISO-8859-1"'),
        ]
    }

    assert len(answers) == 1
    assert answers.pop().startswith("prediction,")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("content", "content_type", "status", "detail"),
    some([
        ("x0,y\n1,2\n", CSV, 422, "the file has no column 'x1', which is a feature of the network"),
        ("x0,x1\n1,2\n3,four\n", CSV, 422, "line 3, column 'x1': a number is needed, not 'four'"),
        ("x0,x1\n1,2\n3\n", CSV, 422, "line 3 has 1 value where 2 columns are named"),
        ('x0,x1\n1,"2\n', CSV, 422, "line 2, column 'x1': a quote is never closed"),
        ("x0,x0,x1\n1,1,2\n", CSV, 422, "'x0' names 2 columns"),
        ("x0,x1\n", CSV, 422, "no rows"),
        ("", CSV, 422, "the body is empty"),
        ("x0,x1\n1,2\n", PARQUET, 422, "format=parquet was asked for, but the file's first bytes are those of text"),
        ("größe,x0,x1\n1,1,2\n".encode("cp1252"), "text/csv; charset=utf-8", 422, "line 1 is not utf-8"),
        ("x0,x1\n1,2\n", "text/csv; charset=martian", 415, "the charset 'martian' is none of utf-8"),
        ("x0,x1\n1,2\n", "text/plain", 415, "one of application/json, text/csv, application/vnd.apache.parquet"),
        ("x0,x1\n1,2\n", "csv", 415, "its Content-Type is 'csv'"),
        ("x0,x1\n" + "1,2\n" * 5_000, CSV, 413, "5,000 rows are too many for one file; send at most 4,166"),
        (b"x" * 100_001, CSV, 413, "the body is larger than 100,000 bytes"),
        (gzip.compress(b"x0,x1\n" + b"1,2\n" * 99_999), CSV, 413, "decompresses to more than 100,000 bytes"),
    ], 2),
)  # fmt: skip
def test_an_invalid_file_is_refused_before_any_prediction(
    client: TestClient, job: str, artifacts: Artifacts,
    content: bytes | str, content_type: str, status: int, detail: str,
) -> None:  # fmt: skip
    response = send(client, job, content, content_type)

    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert detail in response.json()["detail"]
    assert scratch(artifacts) == []


@pytest.mark.sampled
@pytest.mark.parametrize("fault", some([name for name in FAULTS if name.startswith(("gzip", "zstd", "Parquet"))], 3))
def test_an_invalid_file_does_not_affect_other_requests(client: TestClient, job: str, fault: str) -> None:
    response = send(client, job, FAULTS[fault][0], PARQUET if fault.startswith("Parquet") else CSV)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_data")
    assert client.post(f"/v1/jobs/{job}/predict", json={"rows": [{"x0": 1, "x1": 2}]}).status_code == 200


def test_without_a_best_epoch_a_file_is_refused_before_it_is_read(client: TestClient, job_factory: JobFactory) -> None:
    queued = job_factory.queued()

    assert send(client, queued.id, b"x" * 200_000).status_code == 409
    assert send(client, "job_0", "x0,x1\n1,2\n").status_code == 404
