"""The epochs of a job, a page at a time or all as CSV."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import both_databases
from tests.api.states import Kitchen, epoch

TAIL = ["lr", "seconds", "improved", "is_best", "wait", "closeness", "reason"]


@both_databases
def test_a_history_gives_each_epoch_with_its_decision(client: TestClient, kitchen: Kitchen) -> None:
    claim = kitchen.running()
    kitchen.record(
        claim, epoch(1), epoch(2, val_loss=None, non_finite=True, is_best=False, wait=1, reason="not finite")
    )

    page = client.get(f"/v1/jobs/{claim.job_id}/history").json()

    assert (page["has_more"], page["next"]) == (False, None)
    assert page["data"][0] == epoch(1).model_dump()
    assert page["data"][1]["val_loss"] is None
    assert page["data"][1]["non_finite"] is True
    assert page["data"][1]["reason"] == "not finite"


def test_a_history_is_walked_in_order(client: TestClient, kitchen: Kitchen) -> None:
    claim = kitchen.trained(epochs=7)

    seen: list[int] = []
    page: dict[str, Any] = {"next": 0}
    while page["next"] is not None:
        page = client.get(f"/v1/jobs/{claim.job_id}/history", params={"after_epoch": page["next"], "limit": 3}).json()
        seen += [row["epoch"] for row in page["data"]]

    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_a_history_as_csv_has_a_column_a_metric(client: TestClient, kitchen: Kitchen) -> None:
    claim = kitchen.running()
    odd = epoch(1, metrics={"val_accuracy": 0.5, "val_roc_auc": None}, reason='a "quoted", reason')
    kitchen.record(claim, odd, epoch(2, val_loss=None, non_finite=True, is_best=False, closeness=None))

    response = client.get(f"/v1/jobs/{claim.job_id}/history", headers={"Accept": "text/csv"})

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{claim.job_id}-history.csv"'
    assert list(csv.reader(response.text.splitlines())) == [
        ["epoch", "train_loss", "val_loss", "val_accuracy", "val_roc_auc", *TAIL],
        ["1", "0.5", "1.0", "0.5", "", "0.01", "0.1", "true", "true", "0", "0.0", 'a "quoted", reason'],
        ["2", "0.5", "", "0.5", "", "0.01", "0.1", "true", "false", "0", "", "the best so far"],
    ]


def test_a_long_history_comes_whole_as_csv(client: TestClient, kitchen: Kitchen) -> None:
    claim = kitchen.trained(epochs=2_500)

    response = client.get(f"/v1/jobs/{claim.job_id}/history", headers={"Accept": "text/csv"})

    assert [row["epoch"] for row in csv.DictReader(response.text.splitlines())] == [str(n) for n in range(1, 2_501)]


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
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_accept_header_chooses(client: TestClient, kitchen: Kitchen, accept: str, content_type: str) -> None:
    job = kitchen.queued()

    response = client.get(f"/v1/jobs/{job.id}/history", headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"]) == (200, content_type)
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after_epoch=-1", "after_epoch=99999999999999999999"])
def test_a_page_has_its_bounds(client: TestClient, kitchen: Kitchen, query: str) -> None:
    assert client.get(f"/v1/jobs/{kitchen.queued().id}/history?{query}").status_code == 422
