"""Requests of `job.predict`: file formats, batches, and NumPy and pandas values as JSON."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas
import pytest

from service.client import predictions
from service.client.predictions import CSV, JSON_LINES, PARQUET, Predictor, media_type_of
from service.client.transport import ApiError, Transport


class FakeService(httpx2.BaseTransport):
    """A fake service that predicts the number of the request, and rejects rows with a column `wrong`."""

    def __init__(self) -> None:
        self.requests = list[list[dict[str, Any]]]()
        self.options = list[dict[str, str]]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        rows = json.loads(request.read())["rows"]
        self.requests.append(rows)
        self.options.append(dict(request.url.params))
        places = [{"pointer": f"/rows/{n}/wrong", "message": "unknown"} for n, row in enumerate(rows) if "wrong" in row]
        if places:
            detail = f"{places[0]['pointer']}: unknown"
            return httpx2.Response(422, json={"code": "invalid_data", "detail": detail, "errors": places})
        return httpx2.Response(200, json={"predictions": [{"prediction": len(self.requests)} for _ in rows]})


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def predictor(fake: FakeService) -> Predictor:
    transport = Transport("http://service", None, tries=1, timeout=1.0)
    transport.http = httpx2.Client(transport=fake, base_url="http://service")
    return Predictor(transport, "/v1/jobs/job_1")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"a,b\n1,2\n", CSV),
        (b"", CSV),
        (b'{"a": 1}\n', JSON_LINES),
        (b'\xef\xbb\xbf\n {"a": 1}\n', JSON_LINES),
        (b"PAR1...PAR1", PARQUET),
    ],
)
def test_the_format_of_a_file_is_detected_from_its_first_bytes(content: bytes, media_type: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(content)

    assert media_type_of(tmp_path / "rows") == media_type


def test_values_of_numpy_and_pandas_are_sent_as_json(predictor: Predictor, fake: FakeService) -> None:
    row = {"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": pandas.NaT, "e": date(2026, 1, 31), "f": "x"}

    list(predictor.of_rows([row, {"d": pandas.Timestamp("2026-01-31 12:00")}]))

    assert fake.requests == [
        [{"a": 0.5, "b": 3, "c": None, "d": None, "e": "2026-01-31", "f": "x"}, {"d": "2026-01-31T12:00:00"}]
    ]


@pytest.mark.parametrize("level", [0.5, np.float32(0.5), np.float64(0.5)])
def test_a_level_may_be_a_number_of_numpy(predictor: Predictor, fake: FakeService, level: Any) -> None:
    list(Predictor(predictor.transport, predictor.path, {"interval": level}).of_rows([{"a": 1}]))

    assert fake.options == [{"interval": "0.5"}]


def test_many_rows_are_predicted_in_batches_in_order(
    predictor: Predictor, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "MAX_ROWS", 3)
    monkeypatch.setattr(predictions, "MAX_BYTES", 100)
    rows: list[dict[str, Any]] = [{"a": 1}] * 4 + [{"a": "long " * 15}] * 2

    answers = list(predictor.of_rows(iter(rows)))

    assert [len(request) for request in fake.requests] == [3, 2, 1]
    assert [answer["prediction"] for answer in answers] == [1, 1, 1, 2, 2, 3]
    assert list(predictor.of_rows([])) == []


def test_row_numbers_of_errors_count_all_batches(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MAX_ROWS", 2)

    with pytest.raises(ApiError, match="/rows/4/wrong: unknown") as raised:
        list(predictor.of_rows([{"a": 1}] * 4 + [{"wrong": 1}]))

    assert raised.value.errors == [{"pointer": "/rows/4/wrong", "message": "unknown"}]


@pytest.mark.parametrize("rows", [{"a": 1}, [[1, 2]], np.ones((2, 2))])
def test_rows_without_column_names_are_a_type_error(predictor: Predictor, rows: Any) -> None:
    with pytest.raises(TypeError, match="rows are dicts by column name"):
        list(predictor.of_rows(rows))


@pytest.mark.parametrize(("line", "message"), [("{oops", "rows:2 is not JSON"), ("[1]", "rows:2 is not a JSON object")])
def test_an_invalid_line_of_json_lines_is_named(predictor: Predictor, line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(f'{{"a": 1}}\n{line}\n')

    with pytest.raises(ValueError, match=message):
        predictor.of_path(tmp_path / "rows")
