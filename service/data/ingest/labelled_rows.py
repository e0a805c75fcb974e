"""Rows to evaluate from a file: features and labels, validated, and staged together. Runs in a child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.data.duckdb_connection import sandbox, translated_errors
from service.data.ingest.prediction_rows import stage
from service.data.preprocess.labels import true_values, unknown_class, with_label
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.staging import Reading, ReadLimits
from service.errors import InvalidData
from service.spec.read_options import ReadOptions


def read_labelled_rows(
    source: Path, folder: Path, options: ReadOptions, fitted: Preprocessing, limits: ReadLimits
) -> int:
    """Stage features and label of every row of the file `source` in `folder`, as `read_rows` does for features.

    Rows without a label are staged, too. Raises InvalidData naming the line of the first label that is none of the
    classes, and all that `read_rows` raises.
    """
    with translated_errors():
        reading = stage(source, folder, options, with_label(fitted), limits)
        if fitted.target.classes is not None:
            _check_classes(folder, reading, fitted.target, f"c{len(fitted.features)}")
    return reading.rows


def _check_classes(folder: Path, reading: Reading, target: FittedTarget, column: str) -> None:
    for path in folder.glob("rows*.parquet"):
        rows = sandbox(path).read_parquet(str(path))
        if column not in rows.columns:
            continue
        staged = rows.project(f"{column} AS label").fetchnumpy()["label"]
        values, missing = np.ma.getdata(staged), np.ma.getmaskarray(staged)
        if values.dtype != object:
            missing = missing | np.isnan(values)
        wrong = np.flatnonzero((true_values(target, values) < 0) & ~missing)
        if len(wrong):
            row = int(wrong[0]) + 1
            where = f"row {row:,}" if reading.line_of is None else f"line {reading.line_of(row)}"
            raise InvalidData(f"{where}, column {target.column!r}: {unknown_class(values[wrong[0]], target)}")
