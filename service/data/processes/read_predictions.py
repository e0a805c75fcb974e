"""Reads the file of a job's predictions, a page or as another file, in a child process: the API imports no DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.errors import InvalidData, PredictionsCorrupt
from service.spec.read_options import FileFormat

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from service.data.formats.prediction_table import PredictionSource

Part = Literal["validation", "test"]
MAX_SECONDS = 60.0
MAX_CELLS = 100_000
"""Of a page, which has one row at least."""


class _Request(BaseModel):
    """The request to the child: a page, or all rows in the file `target`."""

    parquet: Path
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


def read_page(parquet: Path, part: Part | None, offset: int, limit: int, allowed: Allowance) -> PredictionPage:
    """At most `limit` predictions, of one part or of both, without the first `offset`; fewer where classes are many.

    Raises PredictionsCorrupt if the file cannot be read.
    """
    request = _Request(parquet=parquet.absolute(), part=part, offset=offset, limit=limit)
    return PredictionPage.model_validate(_ask(request, allowed))


def write_part(parquet: Path, part: Part | None, file_format: FileFormat, target: Path, allowed: Allowance) -> None:
    """Write the predictions of one part, or of both, to the new CSV or Parquet file `target`.

    Raises PredictionsCorrupt if the file cannot be read, StorageError when the disk fails.
    """
    _ask(_Request(parquet=parquet.absolute(), part=part, format=file_format, target=target.absolute()), allowed)


def _ask(request: _Request, allowed: Allowance) -> Any:
    try:
        return ask(__name__, request, allowed)
    except InvalidData as error:  # not a fault of the client: the file is ours
        raise PredictionsCorrupt(f"the predictions cannot be read: {error.detail}") from error


def _read(asked: dict[str, Any], allowed: Allowance) -> PredictionPage | None:
    """In the child: respond to the request."""
    from service.data.duckdb_connection import sandbox, translated_errors
    from service.data.formats.prediction_table import source_of
    from service.data.staging import write_parquet

    request = _Request.model_validate(asked)
    folder = None if request.target is None else request.target.parent
    with translated_errors():
        connection = sandbox(request.parquet, folder, allowed.memory_bytes)
        table = connection.read_parquet(str(request.parquet))
        if request.part is not None:
            table = table.filter(f"part = '{request.part}'")
        if request.target is None:
            return _page(request, table, source_of(connection, request.parquet))
        if request.format is FileFormat.csv:
            table.write_csv(str(request.target), header=True)
        else:
            write_parquet(table, request.target, len(table.columns))
    return None


def _page(request: _Request, table: DuckDBPyRelation, source: PredictionSource) -> PredictionPage:
    from service.data.formats.prediction_table import class_names

    limit = max(1, min(request.limit, MAX_CELLS // len(table.columns)))
    found = table.limit(limit + 1, request.offset).fetchall()
    names, rows = class_names(source.classes or ()), []
    for row, part, truth, prediction, *shares in found[:limit]:
        rows.append({"row": row, "part": part, "truth": truth, "prediction": prediction})
        if source.classes is not None:
            rows[-1]["probabilities"] = dict(zip(names, shares, strict=True))
    return PredictionPage(rows=rows, more=len(found) > limit, epoch=source.epoch, sha256=source.sha256)


if __name__ == "__main__":
    respond(_read, "service.data.formats.prediction_table")
