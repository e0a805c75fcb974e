"""A file of rows to predict -> its features, staged by column; read in a child process with limits, as uploads are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.spec.read_options import ReadOptions


class _Request(BaseModel):
    """What the child is asked for."""

    source: Path
    folder: Path
    options: ReadOptions
    learnt: str


class _Staged(BaseModel):
    """What the child has done."""

    rows: int


def ingest_rows(source: Path, folder: Path, options: ReadOptions, learnt: str, allowed: Allowance) -> int:
    """Stage the rows of the file `source` in the folder `folder`, for `table_from_staged`; how many there are.

    `learnt` is the network's Preprocessing as JSON: the API itself knows no numpy. Blocks and raises as `ask` does, and
    InvalidData as `read_rows`.
    """
    request = _Request(source=source.absolute(), folder=folder.absolute(), options=options, learnt=learnt)
    return _Staged.model_validate(ask(__name__, request, allowed)).rows


def _read(asked: dict[str, Any], allowed: Allowance) -> _Staged:
    """In the child: answer the request."""
    from service.data.ingest.prediction_rows import read_rows
    from service.data.preprocess.preprocessing import Preprocessing
    from service.data.staging import ReadLimits

    request = _Request.model_validate(asked)
    learnt = Preprocessing.model_validate_json(request.learnt)
    limits = ReadLimits(allowed.memory_bytes, allowed.unpacked_bytes)
    return _Staged(rows=read_rows(request.source, request.folder, request.options, learnt, limits))


if __name__ == "__main__":
    respond(_read, "service.data.ingest.prediction_rows")
