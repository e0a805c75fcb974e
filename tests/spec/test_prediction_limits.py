"""Predictions of validation and test rows: their expected size, and the bound above which none are kept."""

from __future__ import annotations

from service.engine_constants import CELL_BYTES
from service.spec.limits import (
    FILE_BYTES,
    MAX_PREDICTIONS,
    PREDICTION_COPIES,
    checkpoint_bytes_of,
    file_bytes_of,
    memory_of,
    prediction_bytes_of,
)
from tests.specs import synthetic


def codes(rows: int, **fields: object) -> set[str]:
    data = {"kind": "synthetic", "rows": rows, "features": 2, "classes": 100}
    job = synthetic(data=data, task="classification", **fields)
    return {warning.code for warning in job.warnings}


def test_files_of_a_job_are_its_checkpoints_and_predictions() -> None:
    job = synthetic(data={"kind": "synthetic", "rows": 1_000, "features": 2, "classes": 5})

    kept = file_bytes_of(job) - checkpoint_bytes_of(job)

    assert kept == FILE_BYTES + job.rows.validation * (24 + 4 * 5)


def test_the_memory_of_a_job_includes_its_predictions() -> None:
    data = {"kind": "synthetic", "rows": 100_000, "features": 2, "classes": 100}
    job = synthetic(data=data, split={"validation": 0.5})
    of_rows = CELL_BYTES * data["rows"] * job.row_values

    assert memory_of(job)["/data"] - of_rows == PREDICTION_COPIES * prediction_bytes_of(job)


def test_no_predictions_are_expected_of_a_job_without_rows_to_predict() -> None:
    job = synthetic(split={"validation": 0.0}, early_stopping={"monitor": "train_loss"})

    assert file_bytes_of(job) == checkpoint_bytes_of(job)


def test_a_warning_says_that_there_are_too_many_predictions() -> None:
    rows = MAX_PREDICTIONS // 100

    assert "predictions_not_kept" not in codes(2 * rows, split={"validation": 0.5})
    assert "predictions_not_kept" in codes(2 * rows, split={"validation": 0.6})
