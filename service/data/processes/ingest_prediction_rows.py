"""Ingestion of a file of rows to predict: features staged as Parquet, in a child process with limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask, respond
from service.spec.read_options import ReadOptions


class _Request(BaseModel):
    """The request to the child."""

    source: Path
    folder: Path
    options: ReadOptions
    preprocessing: str
    labelled: bool


class _Staged(BaseModel):
    """The response of the child."""

    rows: int


def ingest_rows(
    source: Path, folder: Path, options: ReadOptions, preprocessing: str, allowed: Allowance, *, labelled: bool = False
) -> int:
    """Stage the rows of the file `source` in the folder `folder`, for `table_from_staged`; return the row count.

    `preprocessing` is the network's Preprocessing as JSON, since the API does not import NumPy; `labelled`: the target
    column is staged after the features. Blocks and raises as `ask` does, and InvalidData as `read_rows`.
    """
    request = _Request(
        source=source.absolute(),
        folder=folder.absolute(),
        options=options,
        preprocessing=preprocessing,
        labelled=labelled,
    )
    return _Staged.model_validate(ask(__name__, request, allowed)).rows


def _read(asked: dict[str, Any], allowed: Allowance) -> _Staged:
    """In the child: respond to the request."""
    from service.data.ingest.labelled_rows import read_labelled_rows
    from service.data.ingest.prediction_rows import read_rows
    from service.data.preprocess.preprocessing import Preprocessing
    from service.data.staging import ReadLimits

    request = _Request.model_validate(asked)
    preprocessing = Preprocessing.model_validate_json(request.preprocessing)
    limits = ReadLimits(allowed.memory_bytes, allowed.unpacked_bytes)
    read = read_labelled_rows if request.labelled else read_rows
    return _Staged(rows=read(request.source, request.folder, request.options, preprocessing, limits))


if __name__ == "__main__":
    respond(_read, "service.data.ingest.labelled_rows")
