"""The file of a job's predictions: what is written is read, with equal bytes for equal tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionSource, PredictionTable
from service.engine_constants import VALUE_BYTES
from service.errors import PredictionsCorrupt
from service.spec.job import Task
from service.spec.limits import PREDICTED_ROW_BYTES
from service.spec.table import Value

CLASSES: list[tuple[Value, ...]] = [
    ("Adelie", "it's", 'say "a"', "A", "a", "", "Größe, {x}; --"),
    (False, True),
    (-3, 0, 2**53),
    (0.5, 1, 1e300),
    ("only",),
]


def source(classes: tuple[Value, ...] | None) -> PredictionSource:
    task = Task.regression if classes is None else Task.classification
    return PredictionSource(job="job_1", epoch=3, sha256="ab" * 32, task=task, target='it\'s "y"', classes=classes)


def table(classes: tuple[Value, ...] | None, validation: int, test: int, seed: int = 0) -> PredictionTable:
    rng = np.random.default_rng(seed)
    rows = validation + test
    if classes is None:
        return PredictionTable(
            source(None), rng.permutation(rows), validation, rng.normal(size=rows), rng.normal(size=rows), None
        )
    shares = rng.random((rows, len(classes)), np.float32)
    indexes = rng.integers(0, len(classes), rows)
    return PredictionTable(source(classes), rng.permutation(rows), validation, indexes, shares.argmax(1), shares)


def at(predictions: PredictionTable, rows: range) -> PredictionTable:
    names = ("row", "truth", "prediction", "probabilities")
    row, *others = (getattr(predictions, name)[rows.start : rows.stop] for name in names)
    return PredictionTable(predictions.source, row, sum(i < predictions.validation_rows for i in rows), *others)


def assert_equal(one: PredictionTable, other: PredictionTable) -> None:
    assert (one.source, one.validation_rows) == (other.source, other.validation_rows)
    for name in ("row", "truth", "prediction", "probabilities"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype, name
            np.testing.assert_array_equal(mine, theirs)


@given(st.sampled_from([None, *CLASSES]), st.integers(0, 50), st.integers(0, 50), st.integers(0, 99))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, classes: tuple[Value, ...] | None, validation: int, test: int, seed: int
) -> None:
    written, path = table(classes, validation, test, seed), tmp_path_factory.mktemp("table") / "predictions"

    path.write_bytes(prediction_table.to_bytes(written))

    assert_equal(prediction_table.read(path), written)


def test_equal_tables_give_equal_bytes() -> None:
    written = {prediction_table.to_bytes(table(("a", "b"), 300, 50)) for _ in range(20)}

    assert len(written) == 1


@pytest.mark.parametrize(
    ("part", "offset", "limit", "rows"),
    [
        (None, 0, None, range(8)),
        (None, 3, 4, range(3, 7)),
        ("validation", 0, None, range(5)),
        ("validation", 4, 10, range(4, 5)),
        ("test", 0, 2, range(5, 7)),
        ("test", 9, 2, range(0)),
    ],
)
def test_some_rows_of_one_part_or_both_are_read(
    tmp_path: Path, part: str | None, offset: int, limit: int | None, rows: range
) -> None:
    written, path = table(("a", "b"), 5, 3), tmp_path / "predictions"
    path.write_bytes(prediction_table.to_bytes(written))

    found = prediction_table.read(path, part, offset, limit)

    assert_equal(found, at(written, rows))


@pytest.mark.parametrize("classes", [None, ("a", "b", "c")])
def test_a_table_in_memory_is_as_small_as_the_estimate_of_its_file(classes: tuple[Value, ...] | None) -> None:
    made = table(classes, 300, 200)

    arrays = [values for values in vars(made).values() if isinstance(values, np.ndarray)]
    assert sum(values.nbytes for values in arrays) == 500 * (PREDICTED_ROW_BYTES + VALUE_BYTES * len(classes or ()))


def test_a_number_beyond_float64_is_nan(tmp_path: Path) -> None:
    path, one = tmp_path / "predictions", np.ones(2)
    written = PredictionTable(source(None), np.arange(2), 1, one, np.array([np.inf, 1.0]), None)
    path.write_bytes(prediction_table.to_bytes(written))

    np.testing.assert_array_equal(prediction_table.read(path).prediction, [np.nan, 1.0])


def test_the_rows_of_one_part() -> None:
    everything = table(("a", "b"), 3, 2)

    tested = everything.only("test")

    assert (tested.validation_rows, len(tested.row)) == (0, 2)
    np.testing.assert_array_equal(tested.row, everything.row[3:])
    assert tested.probabilities is not None
    assert tested.probabilities.shape == (2, 2)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "predictions"
    path.write_bytes(prediction_table.to_bytes(table(("a", "b"), 30, 5)))
    changes: dict[str, Any] = {
        "missing": path.unlink,
        "truncated": lambda: path.write_bytes(path.read_bytes()[:-20]),
        "foreign": lambda: path.write_bytes(safetensors.numpy.save({"row": np.arange(3)})),
    }
    changes[damage]()

    with pytest.raises(PredictionsCorrupt):
        prediction_table.read(path)
