"""Files of rows to a service in its own processes: the answers of JSON, whatever the length, in bounded memory."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from tests.e2e.conftest import upload
from tests.processes import children, command

PENGUINS = Path("examples/penguins.csv")
CSV, PARQUET = {"Content-Type": "text/csv"}, {"Content-Type": "application/vnd.apache.parquet"}
LARGE_ROWS = 1_000_000


@pytest.fixture
def penguins(service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A job that has learnt the species."""
    dataset = upload(service, PENGUINS)
    return train({"data": {"id": dataset["id"], "target": "species"}, "max_epochs": 5})


def test_a_data_set_that_is_downloaded_predicts_the_same_as_csv_as_parquet_and_as_json(
    service: httpx2.Client, penguins: dict[str, Any], tmp_path: Path
) -> None:
    predict = f"/v1/jobs/{penguins['id']}/predict"
    download = f"/v1/datasets/{penguins['spec']['data']['id']}/download"
    with PENGUINS.open() as file:
        rows = [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]

    as_json = service.post(predict, json={"rows": rows}).json()["predictions"]
    as_csv = service.post(predict, content=service.get(f"{download}?format=csv").content, headers=CSV)
    as_parquet = service.post(predict, content=service.get(download).content, headers=PARQUET)

    (tmp_path / "answer").write_bytes(as_parquet.content)
    expected = [(answer["prediction"], *answer["probabilities"].values()) for answer in as_json]
    assert [(row[0], *map(float, row[1:])) for row in list(csv.reader(io.StringIO(as_csv.text)))[1:]] == expected
    assert duckdb.read_parquet(str(tmp_path / "answer")).fetchall() == expected
    assert as_csv.headers["checkpoint-sha256"] == penguins["best"]["checkpoint"]["sha256"]


def test_a_million_rows_are_answered_in_bounded_memory(
    service: httpx2.Client, train: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    job = train({"data": {"kind": "synthetic", "rows": 200, "features": 4}, "max_epochs": 2})
    predict = f"/v1/jobs/{job['id']}/predict"
    first = service.post(predict, content="x0,x1,x2,x3\n" + _line(0), headers=CSV).text
    before = {pid: peak(pid) for pid in processes()}

    with service.stream("POST", predict, content=_large(), headers=CSV, timeout=300.0) as response:
        assert response.status_code == 200
        lines = sum(piece.count(b"\n") for piece in response.iter_bytes())
    growth = {command(pid): peak(pid) - before[pid] for pid in processes() if pid in before}

    assert lines == LARGE_ROWS + 1
    assert first.count("\n") == 2
    assert max(growth.values()) < 100e6, growth


def _value(text: str) -> Any:
    if text in ("", "NA"):
        return None
    return float(text) if text[0].isdigit() else text


def _line(row: int) -> str:
    return f"{row % 7919},{row % 104729 / 3!r},{row * 0.5},{-row}\n"


def _large() -> Iterator[bytes]:
    yield b"x0,x1,x2,x3\n"
    for start in range(0, LARGE_ROWS, 10_000):
        yield "".join(map(_line, range(start, start + 10_000))).encode()


def processes() -> list[int]:
    """The processes of the service that outlive a request."""
    return children(os.getpid())


def peak(pid: int) -> int:
    """The most memory in bytes that a process ever held; 0 for one that has ended and was not waited for."""
    _, _, found = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")
    return int(found.split()[0]) * 1024 if found else 0
