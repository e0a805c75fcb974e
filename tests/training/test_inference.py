"""Predictions of a row are bit-identical alone and in any batch."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.preprocess.dataset import prepare
from service.data.preprocess.preprocessing import Table
from service.spec.job import JobSpec
from service.spec.resolve import inline_profile, resolve
from service.training.checkpoint import LoadedCheckpoint
from service.training.inference import BLOCK_ROWS, InferenceModel, step_rows
from service.training.models import build
from tests.training.arrays import NETWORKS
from tests.training.jobs import CPU, train

FEATURES = 12
ROWS = [[(i * j) % 7 / 9 + i % 5 for j in range(1, FEATURES + 1)] for i in range(45)]


def trained(architecture: dict[str, Any], **fields: Any) -> tuple[InferenceModel, LoadedCheckpoint]:
    """A network that has trained for an epoch on 45 rows of 12 numbers, of three classes."""
    data = {"kind": "inline", "x": ROWS, "y": [i % 3 for i in range(45)]}
    spec = JobSpec.model_validate({"data": data, "architecture": architecture, "max_epochs": 1, **fields})
    resolved = resolve(spec, inline_profile(spec.data))  # type: ignore[arg-type]
    rows = prepare(resolved.preparation, None)
    *_, (last,) = train([resolved], rows, CPU)
    network = build(resolved.graph).eval()
    network.load_state_dict(last.best_state)
    checkpoint = LoadedCheckpoint(network, resolved.graph, rows.preprocessing, spec, 1, {})
    return InferenceModel(checkpoint), checkpoint


@pytest.mark.parametrize("clip", [True, False])
def test_metrics_and_predictions_are_clipped_to_the_range_of_the_training_rows(clip: bool) -> None:
    x: list[list[float | None]] = [[float(i)] for i in range(40)]
    data = {"kind": "inline", "x": x, "y": [float(i) for i in range(40)]}
    spec = JobSpec.model_validate(
        {
            "data": data,
            "task": "regression",
            "split": {"shuffle": False, "validation": 0.25, "test": 0.25},
            "preprocess": {"clip_target": clip},
            "architecture": {"hidden": []},
            "optimizer": {"kind": "sgd", "lr": 0.05},
            "max_epochs": 20,
        }
    )
    resolved = resolve(spec, inline_profile(spec.data))  # type: ignore[arg-type]
    rows = prepare(resolved.preparation, None)
    *_, (last,) = train([resolved], rows, CPU)
    network = build(resolved.graph).eval()
    network.load_state_dict(last.best_state)
    model = InferenceModel(LoadedCheckpoint(network, resolved.graph, rows.preprocessing, spec, 1, {}))

    predicted = model.numbers(Table({"x0": np.arange(30.0, 40.0)}, 10))

    # Training rows have targets 0 to 19, test rows 30 to 39, towards which the line goes on.
    assert (predicted.max() == 19) == clip
    assert (predicted > 19).any() != clip
    assert last.test is not None
    assert last.test["mae"] == pytest.approx(np.abs(predicted - np.arange(30.0, 40.0)).mean(), rel=1e-5)
    assert rows.preprocessing.target.low == (0.0 if clip else None)


def table(rows: int, seed: int = 0) -> Table:
    values = np.random.default_rng(seed).normal(size=(FEATURES, rows)) * 3
    values[:, ::7] = np.nan
    return Table({f"x{i}": column for i, column in enumerate(values)}, rows)


def some(whole: Table, rows: Any) -> Table:
    return Table({name: values[rows] for name, values in whole.columns.items()}, len(rows))


@settings(max_examples=40)
@given(
    NETWORKS,
    st.integers(1, 600),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["standardize", "quantile", "piecewise_linear"]),
)
def test_a_row_predicts_the_same_alone_and_in_any_batch(
    architecture: dict[str, Any], rows: int, seed: int, numeric: str
) -> None:
    scaled = "robust" if architecture.get("shape") and numeric == "piecewise_linear" else numeric
    model, _ = trained(architecture, preprocess={"numeric": scaled})
    whole, rng = table(rows, seed), np.random.default_rng(seed)

    together = model.shares(whole)

    for taken in (rng.permutation(rows), rng.permutation(rows)[: rng.integers(1, rows + 1)], rng.integers(0, rows, 1)):
        assert torch.equal(model.shares(some(whole, taken)), together[taken])


@pytest.mark.parametrize("side", [8, 20])
def test_images_predict_the_same_alone_and_in_a_batch_however_many_fit_in_a_step(side: int) -> None:
    x = [[(i * j) % 11 / 11 for j in range(side * side)] for i in range(30)]
    data = {"kind": "inline", "x": x, "y": [i % 3 for i in range(30)]}
    architecture = {"kind": "cnn", "shape": [1, side, side], "channels": [7, 16]}
    spec = JobSpec.model_validate({"data": data, "architecture": architecture, "max_epochs": 1})
    resolved = resolve(spec, inline_profile(spec.data))  # type: ignore[arg-type]
    rows = prepare(resolved.preparation, None)
    *_, (last,) = train([resolved], rows, CPU)
    network = build(resolved.graph).eval()
    network.load_state_dict(last.best_state)
    model = InferenceModel(LoadedCheckpoint(network, resolved.graph, rows.preprocessing, spec, 1, {}))
    whole = Table({f"x{j}": np.array([row[j] for row in x]) for j in range(side * side)}, len(x))

    together = model.shares(whole)

    for row in range(len(x)):
        assert torch.equal(model.shares(some(whole, [row]))[0], together[row])


def test_the_answers_are_those_of_the_plain_network() -> None:
    model, checkpoint = trained({"kind": "mlp", "hidden": [20, 9]})
    whole = table(BLOCK_ROWS + 44)

    with torch.inference_mode():
        plain = checkpoint.network(torch.from_numpy(checkpoint.preprocessing.inputs(whole)))

    torch.testing.assert_close(model.outputs(whole), plain)


@pytest.mark.parametrize(("widest", "rows"), [(1, 256), (128, 256), (129, 128), (1_024, 32), (1_025, 1), (10**6, 1)])
def test_a_step_takes_fewer_rows_of_a_wider_network_and_32_at_least_of_a_flat_one(widest: int, rows: int) -> None:
    assert step_rows(widest, shaped=True) == rows
    assert step_rows(widest, shaped=False) == max(rows, 32)


@pytest.mark.parametrize("hidden", [[1_025], [1_999, 7], [3_000, 40]])
def test_a_row_of_a_wide_network_predicts_the_same_alone_and_in_a_batch(hidden: list[int]) -> None:
    model, _ = trained({"hidden": hidden})
    whole = table(70)

    together = model.shares(whole)

    for row in range(whole.rows):
        assert torch.equal(model.shares(some(whole, [row]))[0], together[row])


@pytest.mark.e2e
def test_an_inference_model_holds_its_weights_once() -> None:
    _, checkpoint = trained({"kind": "mlp", "hidden": [512, 512]})
    gc.collect()
    before = {id(found) for found in gc.get_objects() if issubclass(type(found), torch.Tensor)}

    model = InferenceModel(checkpoint)

    gc.collect()
    made = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor) and id(found) not in before]
    storages = {found.untyped_storage().data_ptr(): found.untyped_storage().nbytes() for found in made}
    weights = sum(tensor.nbytes for tensor in checkpoint.network.state_dict().values())
    assert sum(storages.values()) < 1.2 * weights
    assert weights <= model.size_bytes < 1.2 * weights
