"""The file of a job's predictions: what is written is read, with equal bytes for equal tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.formats import prediction_table
from service.data.formats.prediction_table import KEPT_PARTS, PredictionSource, PredictionTable
from service.errors import PredictionsCorrupt
from service.spec.job import Task
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
    part = np.repeat(KEPT_PARTS, [validation, test])
    if classes is None:
        return PredictionTable(
            source(None), rng.permutation(rows), part, rng.normal(size=rows), rng.normal(size=rows), None
        )
    shares = rng.random((rows, len(classes)), np.float32)
    indexes = rng.integers(0, len(classes), rows)
    return PredictionTable(source(classes), rng.permutation(rows), part, indexes, shares.argmax(1), shares)


def assert_equal(one: PredictionTable, other: PredictionTable) -> None:
    assert one.source == other.source
    for name in ("row", "part", "truth", "prediction", "probabilities"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype, name
            np.testing.assert_array_equal(mine, theirs)


@given(st.sampled_from([None, *CLASSES]), st.integers(0, 50), st.integers(0, 50), st.integers(0, 99))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, classes: tuple[Value, ...] | None, validation: int, test: int, seed: int
) -> None:
    written, path = table(classes, validation, test, seed), tmp_path_factory.mktemp("table") / "predictions.parquet"

    prediction_table.write(written, path)

    assert_equal(prediction_table.read(path), written)


def test_the_file_has_values_of_the_data_and_a_column_for_each_class(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    prediction_table.write(table((False, True), 3, 2), path)

    found = duckdb.read_parquet(str(path))

    names = ["row", "part", "truth", "prediction", "probability of false", "probability of true"]
    assert found.columns == names
    assert list(map(str, found.types)) == ["BIGINT", "VARCHAR", "BOOLEAN", "BOOLEAN", "FLOAT", "FLOAT"]
    assert [row[1] for row in found.fetchall()] == ["validation"] * 3 + ["test"] * 2


@pytest.mark.parametrize(("classes", "kind"), [*zip(CLASSES, ("VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE"), strict=False)])
def test_classes_keep_their_type(tmp_path: Path, classes: tuple[Value, ...], kind: str) -> None:
    path = tmp_path / "predictions.parquet"
    written = table(classes, 20, 0)
    prediction_table.write(written, path)

    found = duckdb.read_parquet(str(path))

    assert str(found.types[2]) == str(found.types[3]) == kind
    assert [row[2] for row in found.fetchall()] == [classes[i] for i in written.truth]


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        prediction_table.write(table(("a", "b"), 30_000, 5_000), tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_number_beyond_float64_is_missing_in_the_file(tmp_path: Path) -> None:
    path, one = tmp_path / "predictions.parquet", np.ones(2)
    prediction_table.write(
        PredictionTable(source(None), np.arange(2), np.repeat(KEPT_PARTS, 1), one, np.array([np.inf, 1.0]), None), path
    )

    assert [row[3] for row in duckdb.read_parquet(str(path)).fetchall()] == [None, 1.0]
    np.testing.assert_array_equal(prediction_table.read(path).prediction, [np.nan, 1.0])


def test_the_rows_of_one_part() -> None:
    everything = table(("a", "b"), 3, 2)

    tested = everything.only("test")

    assert tested.part.tolist() == ["test", "test"]
    np.testing.assert_array_equal(tested.row, everything.row[3:])
    assert tested.probabilities is not None
    assert tested.probabilities.shape == (2, 2)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "predictions.parquet"
    prediction_table.write(table(("a", "b"), 30, 5), path)
    changes: dict[str, Any] = {
        "missing": path.unlink,
        "truncated": lambda: path.write_bytes(path.read_bytes()[:-20]),
        "foreign": lambda: duckdb.sql("SELECT 1 AS row").write_parquet(str(path)),
    }
    changes[damage]()

    with pytest.raises(PredictionsCorrupt):
        prediction_table.read(path)
