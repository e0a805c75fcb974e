"""The fast predictions with replaced columns are those of the network on rows with these columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.preprocess.preprocessing import Table
from service.data.preprocess.sources import load
from service.training.checkpoint import LoadedCheckpoint
from service.training.inference import InferenceModel
from service.training.models import build
from service.training.replaced_columns import ReplacedColumns, multiplications
from tests.training.arrays import NETWORKS
from tests.training.coded_tables import coded, coded_table
from tests.training.jobs import CPU, train
from tests.training.test_inference import table, trained


@settings(max_examples=30)
@given(NETWORKS, st.integers(1, 300), st.integers(0, 2**32 - 1), st.sets(st.integers(0, 11)))
def test_replaced_numbers_predict_as_rows_with_these_numbers(
    architecture: dict[str, Any], rows: int, seed: int, places: set[int]
) -> None:
    model, checkpoint = trained(architecture)
    whole, other = table(rows, seed), table(rows, seed + 1)
    replaced = {f"x{place}": other.columns[f"x{place}"] for place in places}
    fast = ReplacedColumns(checkpoint, whole)

    found = fast(replaced)

    expected = model.shares(Table({**whole.columns, **replaced}, rows)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(fast({}), model.shares(whole).numpy(), atol=1e-5)  # nothing is left of the last call


@pytest.mark.parametrize("target", ["class", "y"])
def test_replaced_texts_with_codes_predict_as_rows_with_these_texts(tmp_path: Path, target: str) -> None:
    stored = coded_table(tmp_path)
    resolved, rows = coded(stored, target, architecture={"hidden": [8]}, max_epochs=2)
    *_, (last,) = train([resolved], rows, CPU)
    network = build(resolved.graph).eval()
    network.load_state_dict(last.best_state)
    checkpoint = LoadedCheckpoint(network, resolved.graph, rows.preprocessing, resolved.spec, 2, {})
    model, whole = InferenceModel(checkpoint), load(resolved.preparation, stored.parquet)
    replaced = {name: whole.columns[name][::-1].copy() for name in ("city", "a")}

    found = ReplacedColumns(checkpoint, whole)(replaced)

    moved = Table({**whole.columns, **replaced}, whole.rows)
    expected = model.shares(moved).numpy() if target == "class" else model.numbers(moved)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, ReplacedColumns(checkpoint, whole)({}))


def test_the_estimate_of_work_counts_parameters_once_for_a_flat_network_and_by_token_for_a_transformer() -> None:
    _, flat = trained({"hidden": [16]})
    _, tokens = trained({"kind": "ft_transformer", "blocks": 1, "width": 8, "attention_heads": 2})

    assert multiplications(flat.graph) == flat.graph.parameters
    assert multiplications(tokens.graph) > 5 * tokens.graph.parameters
