"""The history of a job: pagination, CSV, Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch

PARQUET = "application/vnd.apache.parquet"
TAIL = ["lr", "seconds", "improved", "is_best", "wait", "closeness", "reason"]


@both_databases
def test_a_history_has_each_epoch_with_its_decision(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.record(
        claim, epoch(1), epoch(2, val_loss=None, non_finite=True, is_best=False, wait=1, reason="not finite")
    )

    page = client.get(f"/v1/jobs/{claim.job_id}/history").json()

    assert (page["has_more"], page["next"]) == (False, None)
    assert page["data"][0] == epoch(1).model_dump()
    assert page["data"][1]["val_loss"] is None
    assert page["data"][1]["non_finite"] is True
    assert page["data"][1]["reason"] == "not finite"


def test_a_history_is_paginated_in_order(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained(epochs=7)

    seen: list[int] = []
    page: dict[str, Any] = {"next": 0}
    while page["next"] is not None:
        page = client.get(f"/v1/jobs/{claim.job_id}/history", params={"after_epoch": page["next"], "limit": 3}).json()
        seen += [row["epoch"] for row in page["data"]]

    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_a_history_as_csv_has_a_column_per_metric(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    odd = epoch(1, metrics={"val_accuracy": 0.5, "val_roc_auc": None}, reason='a "quoted", reason')
    job_factory.record(claim, odd, epoch(2, val_loss=None, non_finite=True, is_best=False, closeness=None))

    response = client.get(f"/v1/jobs/{claim.job_id}/history", headers={"Accept": "text/csv"})

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{claim.job_id}-history.csv"'
    assert list(csv.reader(response.text.splitlines())) == [
        ["epoch", "train_loss", "val_loss", "val_accuracy", "val_roc_auc", *TAIL],
        ["1", "0.5", "1.0", "0.5", "", "0.01", "0.1", "true", "true", "0", "0.0", 'a "quoted", reason'],
        ["2", "0.5", "", "0.5", "", "0.01", "0.1", "true", "false", "0", "", "the best so far"],
    ]


def test_a_long_history_is_complete_as_csv(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained(epochs=2_500)

    response = client.get(f"/v1/jobs/{claim.job_id}/history", headers={"Accept": "text/csv"})

    assert [row["epoch"] for row in csv.DictReader(response.text.splitlines())] == [str(n) for n in range(1, 2_501)]


def as_parquet(client: TestClient, path: str, folder: Path) -> tuple[httpx2.Response, duckdb.DuckDBPyRelation]:
    """The response, and its table."""
    response = client.get(path, headers={"Accept": PARQUET})
    file = folder / "answer.parquet"
    file.write_bytes(response.content)
    return response, duckdb.read_parquet(str(file))


@both_databases
def test_a_history_as_parquet_has_the_columns_of_the_csv_with_types_and_nulls(
    client: TestClient, job_factory: JobFactory, tmp_path: Path
) -> None:
    claim = job_factory.running()
    odd = epoch(1, train_loss=0.1 + 0.2, metrics={"val_accuracy": 0.5, "val_roc_auc": None}, reason='"quoted",\n\u2192')
    job_factory.record(claim, odd, epoch(2, val_loss=None, non_finite=True, is_best=False, closeness=None, reason=""))
    path = f"/v1/jobs/{claim.job_id}/history"

    response, table = as_parquet(client, path, tmp_path)

    assert response.headers["content-type"] == PARQUET
    assert response.headers["content-disposition"] == f'attachment; filename="{claim.job_id}-history.parquet"'
    assert response.headers["vary"] == "Accept"
    assert int(response.headers["content-length"]) == len(response.content)
    header = next(csv.reader([client.get(path, headers={"Accept": "text/csv"}).text.splitlines()[0]]))
    assert table.columns == header == ["epoch", "train_loss", "val_loss", "val_accuracy", "val_roc_auc", *TAIL]
    numbers = ["DOUBLE"] * 4
    decision = ["DOUBLE", "DOUBLE", "BOOLEAN", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"]
    assert list(map(str, table.types)) == ["BIGINT", *numbers, *decision]
    assert table.fetchall() == [
        (1, 0.30000000000000004, 1.0, 0.5, None, 0.01, 0.1, True, True, 0, 0.0, '"quoted",\n\u2192'),
        (2, 0.5, None, 0.5, None, 0.01, 0.1, True, False, 0, None, ""),
    ]


def test_a_long_history_as_parquet_is_that_of_the_json_and_the_csv(
    client: TestClient, job_factory: JobFactory, tmp_path: Path, settings: Settings
) -> None:
    claim = job_factory.running()
    rows = [epoch(n, train_loss=1 / n, val_loss=2 / n if n % 7 else None, wait=n % 5) for n in range(1, 2_501)]
    job_factory.record(claim, *rows)
    path = f"/v1/jobs/{claim.job_id}/history"

    _, table = as_parquet(client, path, tmp_path)

    found = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    assert found == [{**row.measured(), **row.model_dump(exclude={"metrics", "non_finite"})} for row in rows]
    text = client.get(path, headers={"Accept": "text/csv"}).text
    cells = [["" if cell is None else str(cell) for cell in row.values()] for row in found]
    assert [[cell.lower() for cell in row] for row in cells] == list(csv.reader(text.splitlines()))[1:]
    page = client.get(path, params={"after_epoch": 2_000}).json()["data"]
    assert [row["val_loss"] for row in page] == [row["val_loss"] for row in found[2_000:]]
    _, rest = as_parquet(client, f"{path}?after_epoch=2400&limit=1", tmp_path)
    assert [row[0] for row in rest.fetchall()] == list(range(2_401, 2_501))
    assert list((settings.artifacts / "tmp").iterdir()) == []


def test_a_history_without_epochs_is_a_parquet_file_without_rows(
    client: TestClient, job_factory: JobFactory, tmp_path: Path
) -> None:
    response, table = as_parquet(client, f"/v1/jobs/{job_factory.queued().id}/history", tmp_path)

    assert (response.status_code, table.columns) == (200, ["epoch", "train_loss", "val_loss", *TAIL])
    assert table.fetchall() == []


@pytest.mark.parametrize("accept", ["text/csv", PARQUET])
def test_a_history_table_of_a_missing_job_is_a_404(client: TestClient, accept: str) -> None:
    response = client.get("/v1/jobs/job_0/history", headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv, application/json;q=0.5", "text/csv; charset=utf-8"),
        ("TEXT/CSV;q=0.2", "text/csv; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=x", "application/json"),
        (PARQUET, PARQUET),
        (f"{PARQUET};q=0.5, text/csv;q=0.4, application/json;q=0.1", PARQUET),
        (f"text/csv, {PARQUET}", "text/csv; charset=utf-8"),
        (f"application/json;q=0, {PARQUET};q=0.1", PARQUET),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_accept_header_selects_the_format(
    client: TestClient, job_factory: JobFactory, accept: str, content_type: str
) -> None:
    job = job_factory.queued()

    response = client.get(f"/v1/jobs/{job.id}/history", headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"]) == (200, content_type)
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after_epoch=-1", "after_epoch=99999999999999999999"])
def test_the_limit_of_a_page_is_checked(client: TestClient, job_factory: JobFactory, query: str) -> None:
    assert client.get(f"/v1/jobs/{job_factory.queued().id}/history?{query}").status_code == 422
