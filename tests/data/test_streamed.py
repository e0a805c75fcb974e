"""Rows that are prepared piece by piece: the same split and inputs as in memory, in the order of the table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.data.preprocess import stored_rows
from service.data.preprocess.dataset import Prepared, Rows, prepare
from service.data.preprocess.streamed import StreamedRows
from service.errors import DatasetCorrupt, InvalidSpec
from service.spec.resolve import Resolved
from service.spec.split import PARTS
from tests.data.tables import Stored, store
from tests.examples import sampled

NUMERIC = ["standardize", "robust", "quantile", "piecewise_linear", "none"]
SPLITS: list[dict[str, Any]] = [
    {},
    {"test": 0.2, "seed": 3},
    {"shuffle": False, "test": 0.1},
    {"folds": 3, "fold": 2, "test": 0.1},
    {"group": "g"},
    {"column": "part"},
    {"order_by": "when", "test": 0.1},
    {"train_fraction": 0.5, "test": 0.2},
]
TARGETS: list[dict[str, Any]] = [
    {"target": "y"},
    {"target": "v"},
    {"target": "v", "weight": "w"},
    {"target": "t", "weight": "w"},
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Numbers with missing ones, texts, dates, flags, a class with missing ones, groups, parts and weights."""
    lines = ["a,b,c,when,flag,g,part,w,t,v,y"]
    for i in range(211):
        a = "" if i % 11 == 3 else f"{i * 37 % 101 / 7}"
        y = "" if i % 29 == 5 else f"k{i % 3}"
        part = "train" if i % 7 else "validation"
        when = f"2024-{1 + i % 12:02}-{1 + i % 28:02}T{i % 24:02}:30:00"
        text = "pqr"[i % 3] if i % 13 else ""
        flag = "true" if i % 5 < 2 else "false"
        numbers = f"{i % 4 / 2},{i % 2 * 3},{i * 0.37 % 9}"
        lines.append(f"{a},{i * i % 13},{text},{when},{flag},{i % 17},{part},{numbers},{y}")
    return store(tmp_path_factory.mktemp("table"), "\n".join(lines) + "\n")


def gathered(job: Resolved, parquet: Path) -> tuple[StreamedRows, dict[str, dict[str, NDArray[Any]]]]:
    """The streamed rows, and each array of each part."""
    streamed = StreamedRows(job.preparation, parquet)
    found: dict[str, dict[str, list[Any]]] = {part: {} for part in PARTS}
    for piece in streamed.pieces():
        own = found[piece.part]
        assert piece.start == sum(map(len, own.get("row", [])))
        for name, values in arrays_of(piece.rows).items():
            own.setdefault(name, []).append(values)
    return streamed, {part: {name: np.concatenate(own) for name, own in each.items()} for part, each in found.items()}


def arrays_of(rows: Rows) -> dict[str, NDArray[Any]]:
    names = ("padded", "y", "weight", "codes", "row", "truth")
    return {name: values for name in names if (values := getattr(rows, name)) is not None}


def in_order_of_the_table(prepared: Prepared) -> dict[str, dict[str, NDArray[Any]]]:
    found = {}
    for part in PARTS:
        arrays = arrays_of(getattr(prepared, part))
        order = np.argsort(arrays["row"])
        found[part] = {name: values[order] for name, values in arrays.items() if len(order)}
    return found


def asked(table: Stored, **fields: Any) -> tuple[Resolved, Resolved]:
    """A job that streams its rows, and the same one with its rows in memory."""
    data = fields.pop("data")
    return tuple(  # type: ignore[return-value]
        table.resolve(data["target"], data={**data, "streaming": streaming}, **fields) for streaming in ({}, "off")
    )


@sampled(8, 25)
@given(
    st.sampled_from(NUMERIC),
    st.sampled_from(["one_hot", "embedding"]),
    st.sampled_from(SPLITS),
    st.sampled_from(TARGETS),
    st.integers(200, 5_000),
)
def test_each_part_has_the_rows_and_inputs_that_it_has_in_memory(
    table: Stored, numeric: str, categorical: str, split: dict[str, Any], data: dict[str, Any], cells: int
) -> None:
    preprocess = {"numeric": numeric, "categorical": categorical}
    streamed, memory = asked(table, data=data, split=split, preprocess=preprocess)

    with patch.object(stored_rows, "CHUNK_CELLS", cells):
        rows, found = gathered(streamed, table.parquet)

    expected = in_order_of_the_table(prepare(memory.preparation, table.parquet))
    for part in PARTS:
        assert found[part].keys() == expected[part].keys()
        for name, values in expected[part].items():
            assert found[part][name].dtype == values.dtype
            if name in ("y", "codes", "row") and values.dtype.kind == "i":
                assert found[part][name].tolist() == values.tolist()
            else:
                np.testing.assert_allclose(found[part][name], values, rtol=2e-6, atol=2e-6)
            assert rows.arrays[f"{part}.{name}"].shape == values.shape
            assert np.dtype(rows.arrays[f"{part}.{name}"].dtype) == values.dtype


@pytest.mark.parametrize("numeric", ["robust", "quantile", "piecewise_linear"])
def test_quantiles_of_few_rows_are_exactly_those_of_memory(table: Stored, numeric: str) -> None:
    streamed, memory = asked(table, data={"target": "y"}, preprocess={"numeric": numeric})

    rows = StreamedRows(streamed.preparation, table.parquet)

    expected = prepare(memory.preparation, table.parquet).preprocessing
    for own, other in zip(rows.preprocessing.features, expected.features, strict=True):
        if own.type in ("number", "integer", "datetime"):
            assert own == other


def test_predictions_are_clipped_to_the_range_of_the_training_rows(table: Stored) -> None:
    streamed, memory = asked(table, data={"target": "v"}, preprocess={"clip_target": True})

    target = StreamedRows(streamed.preparation, table.parquet).preprocessing.target

    expected = prepare(memory.preparation, table.parquet).preprocessing.target
    assert (target.low, target.high) == (expected.low, expected.high)
    assert math.isclose(target.mean, expected.mean, rel_tol=1e-12)


def test_progress_is_counted_while_the_table_is_read(table: Stored) -> None:
    streamed, _ = asked(table, data={"target": "y"})
    chunks: list[None] = []

    with patch.object(stored_rows, "CHUNK_CELLS", 100):
        for _ in StreamedRows(streamed.preparation, table.parquet, lambda: chunks.append(None)).pieces():
            pass

    assert len(chunks) > 20


def test_a_negative_target_of_a_poisson_loss_is_refused(tmp_path: Path) -> None:
    lines = [f"{i},{i % 5}" for i in range(50)]
    stored = store(tmp_path, "a,n\n" + "\n".join([*lines, "1,-1"]) + "\n")
    preparation = stored.resolve("n", data={"streaming": {}}, task="regression").preparation

    with pytest.raises(InvalidSpec, match="the smallest value of column 'n' is -1"):
        StreamedRows(replace(preparation, target=replace(preparation.target, link="log")), stored.parquet)


def test_weights_that_are_all_zero_are_refused(tmp_path: Path) -> None:
    stored = store(tmp_path, "a,y,w\n" + "".join(f"{i},{i % 2},{int(i > 40)}\n" for i in range(50)))
    job = stored.resolve("y", data={"streaming": {}, "weight": "w"}, split={"shuffle": False, "validation": 0.4})

    with pytest.raises(InvalidSpec, match="every training row has the weight 0"):
        StreamedRows(job.preparation, stored.parquet)


def test_a_damaged_file_is_said_to_be_damaged(table: Stored, tmp_path: Path) -> None:
    streamed, _ = asked(table, data={"target": "y"})
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(table.parquet.read_bytes()[:-40])

    with pytest.raises(DatasetCorrupt):
        StreamedRows(streamed.preparation, damaged)
