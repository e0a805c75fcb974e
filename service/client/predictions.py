"""Predictions for rows, files and DataFrames, each in the matching shape."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

from service.client.transport import ApiError
from service.client.uploads import CsvRows, as_file
from service.domain.prediction import AppliedCalibration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from service.client.transport import Transport

CSV, PARQUET, JSON_LINES = "text/csv", "application/vnd.apache.parquet", "application/x-ndjson"
PREFIX = "probability of "  # column names of files: the prefix and a class
SET = "set"  # the column of sets of classes, as JSON
FILE_SECONDS, ROWS_SECONDS = 900.0, 120.0
# The service takes 10,000 rows in 2 MiB of JSON, and answers a million probabilities at most.
MAX_ROWS, MAX_BYTES = 1_000, 2**20
HELD_OUT_ROWS = 10_000  # kept predictions that are read at a time

Row = dict[str, Any]


class DataFrame(Protocol):
    """A DataFrame of pandas or polars."""

    @property
    def columns(self) -> Any:
        """The column names."""


Frame = TypeVar("Frame", bound=DataFrame)


class PredictOptions(TypedDict, total=False):
    """What to predict, beside the class or the number."""

    calibrated: bool
    """Whether probabilities are calibrated."""
    interval: float | None
    """The coverage of intervals, or of sets of classes."""


@dataclass(frozen=True)
class Predictor:
    """Predicts with the weights of a job's best epoch, or with a model."""

    transport: Transport
    path: str
    """The path of the job or the model, as in `/v1/jobs/job_1` and `/v1/models/churn@challenger`."""
    options: PredictOptions = field(default_factory=PredictOptions)

    def of(self, rows: Any, out: str | Path | None = None) -> Any:
        """Predictions in the shape of the rows: see `Job.predict`."""
        if isinstance(rows, str | Path):
            if out is None:
                return self.of_path(Path(rows))
            Path(out).write_bytes(self.bytes_of_path(Path(rows)))
            return Path(out)
        if out is not None:
            raise TypeError("out= goes with the path of a file of rows")
        return self.of_frame(rows) if hasattr(rows, "columns") else list(self.of_rows(rows))

    def bytes_of(self, rows: str | Path | CsvRows) -> bytes:
        """Predictions for a file of rows, as the bytes of a file of the same format; raises as `bytes_of_path`."""
        return self.of_file(rows) if isinstance(rows, CsvRows) else self.bytes_of_path(Path(rows))

    def of_rows(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
        """A prediction per row, requested in batches; raises ApiError."""
        start = 0
        for batch in _batches(rows):
            body = b'{"rows":[' + b",".join(batch) + b"]}"
            headers = {"Content-Type": "application/json"}
            try:
                answer = self._post(content=body, headers=headers, timeout=ROWS_SECONDS).json()
            except ApiError as error:
                raise _counted_from(start, error) from None
            start += len(batch)
            yield from answer["predictions"]

    def of_file(self, content: Any, media_type: str = CSV) -> bytes:
        """Predictions for a CSV or Parquet file, as a file of the same format; raises ApiError."""
        return bytes(self._post(content=content, headers={"Content-Type": media_type}, timeout=FILE_SECONDS).content)

    def of_path(self, path: Path) -> list[Row]:
        """A prediction per row of a CSV or JSON Lines file; raises ApiError, OSError, ValueError for Parquet."""
        media_type = media_type_of(path)
        if media_type == JSON_LINES:
            return list(self.of_rows(_json_lines(path)))
        if media_type == PARQUET:
            raise ValueError(f"predictions for a Parquet file are a Parquet file: say where to save it, for {path}")
        columns = self._columns(self.of_file(as_file(path)[0]))
        answers = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return list(map(_with_probabilities, answers))

    def bytes_of_path(self, path: Path) -> bytes:
        """Predictions for a file of rows, as the bytes of a file of the same format; raises ApiError, OSError."""
        media_type = media_type_of(path)
        if media_type == JSON_LINES:
            return "".join(f"{json.dumps(each)}\n" for each in self.of_rows(_json_lines(path))).encode()
        return self.of_file(as_file(path)[0], media_type)

    def of_frame(self, rows: Frame) -> Frame:
        """A DataFrame with the columns of a file of predictions; see `of_file`."""
        columns = self._columns(self.of_file(as_file(rows)[0]))
        make: Any = type(rows)  # pandas and polars both accept a dict of columns
        frame: Frame = make(columns, index=rows.index) if hasattr(rows, "index") else make(columns)  # polars has none
        return frame

    def calibration(self) -> AppliedCalibration | None:
        """How these predictions are calibrated, or why they are raw; None where nothing is to be; raises ApiError."""
        headers = {"Content-Type": "application/json"}
        found = self._post(content=b'{"rows":[{}]}', headers=headers, timeout=ROWS_SECONDS).json()["calibration"]
        return None if found is None else AppliedCalibration.model_validate(found)

    def _columns(self, answer: bytes) -> dict[str, list[Any]]:
        """The columns of a CSV file of predictions, with the types that JSON has."""
        header, *lines = csv.reader(io.StringIO(answer.decode(), newline=""))
        classified = any(name.startswith(PREFIX) for name in header)
        columns: dict[str, list[Any]] = {name: [line[i] for line in lines] for i, name in enumerate(header)}
        for name, texts in columns.items():
            if name == SET:
                columns[name] = [json.loads(text) for text in texts]
            elif name != "prediction" or not classified:
                columns[name] = [float(text) if text else None for text in texts]
        if classified:
            (example,) = self.of_rows([{}])  # missing values are allowed
            columns["prediction"] = [_of_type(type(example["prediction"]), text) for text in columns["prediction"]]
        return columns

    def _post(self, **options: Any) -> Any:
        asked = {name: json.dumps(_json_value(value)) for name, value in self.options.items() if value is not None}
        return self.transport.request("POST", f"{self.path}/predict", params=asked, **options)


def _with_probabilities(row: Row) -> Row:
    """A row of a file of predictions as JSON has it."""
    others = {name: value for name, value in row.items() if not name.startswith(PREFIX)}
    if len(others) == len(row):
        return others
    own = {name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)}
    return {"prediction": others.pop("prediction"), "probabilities": own, **others}


def held_out_rows(transport: Transport, path: str, part: str | None, limit: int | None = None) -> list[Row]:
    """The kept predictions of the job at `path` for its rows of a part, or the first ones of them; raises ApiError."""
    rows, offset = list[Row](), 0
    while limit is None or offset < limit:
        most = HELD_OUT_ROWS if limit is None else min(HELD_OUT_ROWS, limit - offset)
        params: dict[str, Any] = {"limit": most, "offset": offset} | ({} if part is None else {"part": part})
        page = transport.json("GET", f"{path}/predictions", params=params)
        rows += page["data"]
        if page["next"] is None:
            break
        offset = page["next"]
    return rows


def media_type_of(path: Path) -> str:
    """The format of a file of rows, detected from its first bytes; raises OSError."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith(b"PAR1"):
        return PARQUET
    return JSON_LINES if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else CSV


def body_of(rows: Any) -> tuple[Any, str]:
    """The body of a request about all of these rows, and its Content-Type; raises OSError, ValueError.

    `rows`: dicts by column name, sent as JSON; a DataFrame or the path of a CSV or Parquet file, sent as a file.
    """
    if isinstance(rows, str | Path):
        media_type = media_type_of(Path(rows))
        if media_type != JSON_LINES:
            return as_file(rows)[0], media_type
        rows = _json_lines(Path(rows))
    if hasattr(rows, "columns"):
        return as_file(rows)[0], CSV
    return b'{"rows":[' + b",".join(map(_row, rows)) + b"]}", "application/json"


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}:{number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{path}:{number} is not a JSON object")
                yield row


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """The rows as JSON, in batches of a size that the service accepts."""
    batch, size = list[bytes](), 0
    for row in rows:
        text = _row(row)
        if batch and (len(batch) == MAX_ROWS or size + len(text) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def _row(row: Any) -> bytes:
    """A row as JSON."""
    if not isinstance(row, Mapping):
        raise TypeError("rows are dicts by column name, the path of a file, or a DataFrame")
    return json.dumps({name: _json_value(value) for name, value in row.items()}, allow_nan=False).encode()


def _counted_from(start: int, error: ApiError) -> ApiError:
    """The error of a batch, its row numbers relative to the first row of all batches."""

    def shifted(text: str) -> str:
        return re.sub(r"/rows/(\d+)", lambda found: f"/rows/{int(found[1]) + start}", text)

    error.detail = shifted(error.detail)
    error.errors = [{name: shifted(text) for name, text in each.items()} for each in error.errors]
    error.args = (shifted(str(error)),)
    return error


def _json_value(value: Any) -> Any:
    """NaN and NaT become null, NumPy numbers Python's, dates ISO 8601 text."""
    if value != value:
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _of_type(kind: type, text: str) -> Any:
    """A class label of a CSV file as the value that JSON has."""
    return text == "true" if kind is bool else kind(text)
