"""Predictions written in parts and joined to one file in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from service.data.formats.array_columns import write_predictions
from service.data.processes.join_predictions import join_predictions
from service.data.processes.runner import Allowance
from service.errors import TooLarge
from service.spec.read_options import FileFormat

ALLOWED = Allowance(memory_bytes=2**28, unpacked_bytes=2**20, seconds=60)
LABELS = np.array(["a, b", 'say "c"'], dtype=object)


def parts(folder: Path, *columns: list[Any]) -> list[Path]:
    """A part for each group of columns."""
    paths = [folder / f"part{10 - number}.parquet" for number in range(len(columns))]
    for path, each in zip(paths, columns, strict=True):
        write_predictions(path, each)
    return paths


def test_parts_are_joined_in_their_order_as_csv_with_quotes_where_they_are_needed(tmp_path: Path) -> None:
    written = parts(tmp_path, [LABELS, np.array([0.1, 0.25])], [LABELS[:1], np.array([np.nan])])

    join_predictions(written, ["prediction", "it's, so"], FileFormat.csv, tmp_path / "answer", ALLOWED)

    assert (tmp_path / "answer").read_text() == 'prediction,"it\'s, so"\n"a, b",0.1\n"say ""c""",0.25\n"a, b",\n'


@pytest.mark.parametrize(
    ("values", "kind"),
    [(LABELS, "VARCHAR"), (np.array([True, False]), "BOOLEAN"), (np.array([1, 2]), "BIGINT"),
     (np.array([0.5, 1e308]), "DOUBLE")],
)  # fmt: skip
def test_parts_are_joined_as_parquet_with_the_types_of_the_answers(tmp_path: Path, values: Any, kind: str) -> None:
    join_predictions(parts(tmp_path, [values]), ["prediction"], FileFormat.parquet, tmp_path / "answer", ALLOWED)

    answer = duckdb.read_parquet(str(tmp_path / "answer"))
    assert (answer.types, [row[0] for row in answer.fetchall()]) == ([kind], values.tolist())


def test_an_answer_that_needs_too_much_room_is_refused(tmp_path: Path) -> None:
    written = parts(tmp_path, [np.array(["x" * 1_000] * 80_000, dtype=object)])
    narrow = ALLOWED.model_copy(update={"unpacked_bytes": 1})

    with pytest.raises(TooLarge, match="more disk space"):
        join_predictions(written, ["prediction"], FileFormat.csv, tmp_path / "answer", narrow)


def test_a_part_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_predictions(tmp_path / "gone" / "part", [LABELS])
