"""The NPY and NPZ readers: round trip of arrays."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_digits

from service.data.formats.npy_header import read_header
from service.data.staging import ReadLimits
from service.errors import InvalidData
from tests.data.files import X, npy, npz
from tests.data.tables import store


@pytest.mark.parametrize(("x", "y"), [("X", "y"), ("x", "Y"), ("data", "target"), ("X", "labels")])
def test_arrays_are_found_by_their_usual_names(tmp_path: Path, x: str, y: str) -> None:
    stored = store(tmp_path, npz(**{x: X, y: np.arange(6) % 2}))

    assert [c.name for c in stored.columns] == ["x0", "x1", "y"]
    assert stored.values() == [(a, b, i % 2) for i, (a, b) in enumerate(X.tolist())]
    assert stored.read_as.arrays == {"x": x, "y": y}


def test_images_are_flattened_and_their_shape_is_reported(tmp_path: Path) -> None:
    digits = load_digits()

    stored = store(tmp_path, npz(np.savez_compressed, X=digits.images, y=digits.target))

    assert (stored.rows, len(stored.columns), stored.read_as.shape) == (1_797, 65, [8, 8])
    assert np.array_equal(np.array(stored.values()), np.column_stack([digits.data, digits.target]))


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (np.array(["a", "é"]), "text", ["a", "é"]),
        (np.array([b"a", "é".encode()]), "text", ["a", "é"]),
        (np.array([True, False]), "boolean", [True, False]),
        (np.array([[3], [4]], dtype=">u2"), "integer", [3, 4]),
        (np.array([0.5, np.nan]), "number", [0.5, None]),
    ],
)
def test_y_may_hold_texts_booleans_and_numbers(tmp_path: Path, array: Any, kind: str, values: list[Any]) -> None:
    stored = store(tmp_path, npz(x=np.zeros((2, 1)), y=array))

    assert (stored.column("y").type.value, [row[1] for row in stored.values()]) == (kind, values)


def test_other_arrays_are_left_out_with_a_warning(tmp_path: Path) -> None:
    assert store(tmp_path, npz(x=X, y=X[:, 0], weights=X)).warnings == ["arrays skipped: 'weights'"]


def test_infinite_numbers_count_as_missing(tmp_path: Path) -> None:
    assert store(tmp_path, npy(np.array([1.5, np.inf]))).warnings == [
        "column 'x0': 1 infinite or NaN value counts as missing"
    ]


def test_an_array_is_read_in_blocks_and_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.data.formats.array_columns.BLOCK_BYTES", 100)
    monkeypatch.setattr("service.data.formats.array_columns.SLICE_COLUMNS", 3)
    x = np.arange(200.0).reshape(20, 10)

    for order in "CF":
        assert np.array_equal(np.array(store(tmp_path, npy(np.asarray(x, order=order))).values()), x)


def test_an_array_of_too_many_rows_for_the_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        store(tmp_path, npy(np.zeros((100_000, 1), "i1")), ReadLimits(1_000_000, 2**30))


NUMBERS = st.sampled_from("?bBhHiIfd").map(np.dtype) | st.sampled_from([">f4", ">i2", "<f2"]).map(np.dtype)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    x=arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_numpy_round_trip(x: np.ndarray, version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, x, version=version)

    with tempfile.TemporaryDirectory() as folder:
        values = store(Path(folder), file.getvalue()).values()

    flat = x.reshape(len(x), -1).astype(float)
    expected = np.where(np.isfinite(flat), flat, np.nan)
    assert np.array_equal(np.array(values, dtype=float), expected, equal_nan=True)


@given(st.binary(max_size=200))
def test_no_header_makes_the_reader_fail_otherwise_than_by_refusing(junk: bytes) -> None:
    content = b"\x93NUMPY\x01\x00" + len(junk).to_bytes(2, "little") + junk

    with pytest.raises(InvalidData):
        read_header(io.BytesIO(content), "it", len(content))
