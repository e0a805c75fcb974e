"""Reads a job's predictions, a page or all as CSV or Parquet, in a child process: the API has no NumPy, no DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask_about_stored, respond
from service.errors import InvalidData, PredictionsCorrupt
from service.spec.read_options import FileFormat
from service.spec.table import Value

if TYPE_CHECKING:
    from service.data.formats.prediction_table import PredictionTable

Part = Literal["validation", "test"]
MAX_SECONDS = 60.0
MAX_ROWS, MAX_CELLS = 10_001, 100_000
"""Of a page, which has one row at least; a row more says whether there is another page."""
COLUMNS = ("row", "part", "truth", "prediction")


class _Request(BaseModel):
    """The request to the child: a page, or all rows in the file `target`."""

    predictions: Path
    part: Part | None
    offset: int = 0
    limit: int = 0
    format: FileFormat | None = None
    target: Path | None = None


class PredictionPage(BaseModel):
    """Some of the predictions."""

    rows: list[dict[str, Any]]
    """Objects with `row`, `part`, `truth`, `prediction` and, for classes, `probabilities`."""
    more: bool
    """Whether there are rows behind these."""
    epoch: int
    """The epoch of the weights."""
    sha256: str
    """SHA-256 of the weights' safetensors file."""


def read_page(predictions: Path, part: Part | None, offset: int, limit: int, allowed: Allowance) -> PredictionPage:
    """At most `limit` predictions, of one part or of both, without the first `offset`; fewer where classes are many.

    Raises PredictionsCorrupt if the file cannot be read.
    """
    request = _Request(predictions=predictions.absolute(), part=part, offset=offset, limit=limit)
    return PredictionPage.model_validate(_ask(request, allowed))


def write_part(predictions: Path, part: Part | None, file_format: FileFormat, target: Path, allowed: Allowance) -> None:
    """Write the predictions of one part, or of both, to the new CSV or Parquet file `target`.

    Raises PredictionsCorrupt if the file cannot be read, StorageError when the disk fails.
    """
    request = _Request(predictions=predictions.absolute(), part=part, format=file_format, target=target.absolute())
    _ask(request, allowed)


def _ask(request: _Request, allowed: Allowance) -> Any:
    return ask_about_stored(
        __name__, request, allowed, lambda why: PredictionsCorrupt(f"the predictions cannot be read: {why}")
    )


def _read(asked: dict[str, Any], allowed: Allowance) -> PredictionPage | None:
    """In the child: respond to the request."""
    from service.data.formats import prediction_table

    request = _Request.model_validate(asked)
    try:
        if request.target is None:
            return _page(request, prediction_table.read(request.predictions, request.part, request.offset, MAX_ROWS))
        table = prediction_table.read(request.predictions, request.part)
    except PredictionsCorrupt as error:
        raise InvalidData(error.detail) from error
    _write(table, request, allowed)
    return None


def _page(request: _Request, table: PredictionTable) -> PredictionPage:
    from service.data.formats.prediction_table import KEPT_PARTS, class_names

    source, shares = table.source, table.probabilities
    limit = max(1, min(request.limit, MAX_CELLS // (len(COLUMNS) + len(source.classes or ()))))
    names, classes = class_names(source.classes or ()), source.classes
    rows: list[dict[str, Any]] = []
    for i in range(min(limit, len(table.row))):
        truth, prediction = table.truth[i].item(), table.prediction[i].item()
        if classes is not None:
            truth, prediction = classes[truth], classes[prediction]
        elif not isfinite(prediction):
            prediction = None
        rows.append(
            {
                "row": int(table.row[i]),
                "part": KEPT_PARTS[i >= table.validation_rows],
                "truth": truth,
                "prediction": prediction,
            }
        )
        if shares is not None:
            rows[-1]["probabilities"] = dict(zip(names, shares[i].tolist(), strict=True))
    return PredictionPage(rows=rows, more=len(table.row) > limit, epoch=source.epoch, sha256=source.sha256)


def _write(table: PredictionTable, request: _Request, allowed: Allowance) -> None:
    """Write the table in terms of the data: classes as their values, a column of probabilities for each."""
    import numpy as np

    from service.data.duckdb_connection import sandbox, translated_errors
    from service.data.formats.prediction_table import KEPT_PARTS, class_names
    from service.data.sql import sql_name
    from service.data.staging import write_parquet

    arrays: dict[str, Any] = {"row": table.row, "truth": table.truth, "prediction": table.prediction}
    arrays["validates"] = np.arange(len(table.row)) < table.validation_rows
    part = f"CASE WHEN validates THEN '{KEPT_PARTS[0]}' ELSE '{KEPT_PARTS[1]}' END AS part"
    if table.classes is None or table.probabilities is None:
        columns = ["row", part, "truth", "CASE WHEN isfinite(prediction) THEN prediction END AS prediction"]
    else:
        values = sql_list(table.classes)
        columns = ["row", part, *(f"list_extract({values}, {name} + 1) AS {name}" for name in COLUMNS[2:])]
        for i, (name, shares) in enumerate(zip(class_names(table.classes), table.probabilities.T, strict=True)):
            arrays[f"p{i}"] = np.ascontiguousarray(shares)
            columns.append(f"p{i} AS {sql_name(f'probability of {name}')}")
    assert request.target is not None
    with translated_errors():
        connection = sandbox(request.predictions, request.target.parent, allowed.memory_bytes)
        connection.register("arrays", arrays)
        rows = connection.sql(f"FROM arrays SELECT {', '.join(columns)}")
        if request.format is FileFormat.csv:
            rows.write_csv(str(request.target), header=True)
        else:
            write_parquet(rows, request.target, len(columns))


def sql_list(classes: Sequence[Value]) -> str:
    """The classes as an SQL list of their common type."""
    from service.data.sql import sql_text

    if all(isinstance(value, str) for value in classes):
        return f"[{', '.join(sql_text(str(value)) for value in classes)}]::VARCHAR[]"
    if all(isinstance(value, bool) for value in classes):
        return f"[{', '.join(str(value).lower() for value in classes)}]::BOOLEAN[]"
    kind = "BIGINT" if all(isinstance(value, int) for value in classes) else "DOUBLE"
    return f"[{', '.join(f'{value!r}::{kind}' for value in classes)}]::{kind}[]"


if __name__ == "__main__":
    respond(_read, "service.data.formats.prediction_table", "service.data.staging", "service.data.duckdb_connection")
