"""Every export predicts the same as the service: any network, any columns, one row or many."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.preprocess.preprocessing import FittedTarget, Preprocessing, Table
from service.errors import Conflict
from service.serving.exports import standalone as loader
from service.serving.exports.model import TrainedModel, check
from service.serving.exports.onnx_file import feed, to_onnx
from service.serving.exports.program import to_pt2
from service.serving.exports.rows import rows_for
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint
from tests.examples import some
from tests.serving.exports.networks import (
    CLIPPED,
    MIXED_ROWS,
    TARGETS,
    mixed,
    numbers,
    of_every_encoding,
    texts,
    untrained,
)
from tests.training.arrays import NETWORKS
from tests.training.test_inference import trained

FORMATS = [to_pt2, to_onnx]
NETS: list[dict[str, Any]] = [
    {"hidden": [16, 8]},
    {"hidden": [], "batch_norm": False},
    {"kind": "cnn", "shape": [1, 3, 4], "channels": [4], "kernel_size": 3, "pool": 2, "hidden": [8]},
    {"kind": "resnet", "width": 9, "blocks": 1},
    {"kind": "tabm", "heads": 3, "hidden": [8]},
    {"kind": "tabm", "mode": "full", "heads": 3, "hidden": [8, 5]},
    {"kind": "ft_transformer", "width": 12, "attention_heads": 3},
    {
        "kind": "layers",
        "shape": [4, 3],
        "layers": [
            {"kind": "conv1d", "out_channels": 5, "kernel_size": 2},
            {"kind": "batch_norm"},
            {"kind": "activation", "function": "silu"},
            {"kind": "avg_pool", "kernel_size": 2},
            {"kind": "flatten"},
            {"kind": "layer_norm"},
            {"kind": "dropout", "p": 0.5},
        ],
    },
]


@functools.cache
def exported(to_file: Callable[..., bytes], target: int) -> bytes:
    """The file of a network of mixed columns and that one of TARGETS; writing it takes seconds."""
    return to_file(alone(mixed(TARGETS[target])), MIXED_ROWS)


def alone(checkpoint: LoadedCheckpoint) -> TrainedModel:
    return TrainedModel([checkpoint])


def standalone(checkpoint: LoadedCheckpoint) -> loader.Standalone:
    return alone(checkpoint).standalone()


def rows_of(checkpoint: LoadedCheckpoint) -> list[dict[str, Any]]:
    rows = rows_for(alone(checkpoint), {})
    return [*rows, {"x0": None, "x1": 1e6, "x2": -1e6}, dict.fromkeys(rows[0])]


@settings(max_examples=25)
@given(NETWORKS)
def test_any_network_answers_the_same_from_its_plain_description(architecture: dict[str, Any]) -> None:
    _, checkpoint = trained(architecture)
    again = loader.Standalone(json.loads(json.dumps(standalone(checkpoint).description)))
    again.load_weights(checkpoint.network.state_dict())
    again.eval()

    with torch.inference_mode():
        check(alone(checkpoint), lambda rows: again(*again.tensors(rows)), rows_of(checkpoint), "description")


WRITTEN = [(net, FORMATS[(i + j) % 2]) for i, net in enumerate(NETS) for j in (0, 1)]


@pytest.mark.sampled
@pytest.mark.parametrize(("architecture", "to_file"), some(WRITTEN, 2))  # each network in one format at least
def test_networks_of_every_kind_are_written(architecture: dict[str, Any], to_file: Callable[..., bytes]) -> None:
    _, checkpoint = trained(architecture)

    to_file(alone(checkpoint), rows_of(checkpoint))  # which itself compares the answers


@pytest.mark.parametrize("to_file", [to_pt2, to_onnx])
def test_the_same_network_is_the_same_bytes_each_time(to_file: Callable[..., bytes]) -> None:
    assert to_file(alone(mixed(TARGETS[0])), MIXED_ROWS) == exported(to_file, 0)


@pytest.mark.parametrize(
    ("numeric", "target"), [("quantile", TARGETS[0]), ("none", TARGETS[-1]), ("robust", TARGETS[1])], ids=str
)
def test_columns_of_every_type_and_scaling_are_exported(target: FittedTarget, numeric: str) -> None:
    checkpoint = mixed(target, numeric)

    for to_file in (to_pt2, to_onnx):
        to_file(alone(checkpoint), MIXED_ROWS)


EXTREME: list[dict[str, Any]] = [
    *(row for row in MIXED_ROWS if row.get("city") != ""),  # in ONNX an empty text is a missing one
    {"size": 1e300, "city": "a", "constant": 1e300, "street": "é", "two": -7.5, "when": "9999-01-01"},
    {"size": -1e300, "city": "é", "constant": -1.7e308, "street": "unseen", "two": 0.25, "linear": "y"},
]


@pytest.mark.parametrize("target", [TARGETS[0], CLIPPED], ids=["classes", "clipped"])
@pytest.mark.parametrize("to_file", [to_pt2, to_onnx])
def test_bins_and_numbers_of_texts_are_exported(to_file: Callable[..., bytes], target: FittedTarget) -> None:
    to_file(alone(of_every_encoding(target)), EXTREME)


def test_clipped_predictions_stay_within_the_range_of_the_training_rows() -> None:
    checkpoint = of_every_encoding(CLIPPED)

    answers = [answer["prediction"] for answer in standalone(checkpoint).predict(EXTREME)]

    assert {CLIPPED.low, CLIPPED.high} & {*answers}
    assert all(CLIPPED.low <= answer <= CLIPPED.high for answer in answers)  # type: ignore[operator]


COLUMNS = st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=60)


@settings(max_examples=150)
@given(
    train=COLUMNS,
    asked=COLUMNS,
    numeric=st.sampled_from(["standardize", "robust", "quantile", "piecewise_linear", "none"]),
    kind=st.sampled_from([ColumnType.number, ColumnType.boolean]),
)
def test_any_column_has_the_same_inputs_in_the_standalone_network(
    train: list[float], asked: list[float], numeric: str, kind: ColumnType
) -> None:
    preprocessing = Preprocessing(features=[numbers("x", train, numeric, kind)], target=TARGETS[0])
    expected = preprocessing.inputs(Table({"x": np.array(asked)}, len(asked)))
    inputs = loader.Inputs(json.loads(preprocessing.model_dump_json())["features"])

    found = inputs(torch.tensor(asked, dtype=torch.float64)[:, None], torch.zeros(len(asked), 0, dtype=torch.int64))

    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.classes))
def test_an_onnx_file_names_its_inputs_as_the_columns_and_answers_in_the_targets_type(
    target: FittedTarget,
) -> None:
    checkpoint = mixed(target)

    session = onnxruntime.InferenceSession(exported(to_onnx, TARGETS.index(target)), providers=["CPUExecutionProvider"])

    assert {each.name: each.type for each in session.get_inputs()} == {
        **dict.fromkeys(("size", "when", "smoker"), "tensor(double)"),
        **dict.fromkeys(("city", "linear"), "tensor(string)"),
    }
    (prediction, *probabilities) = session.run(None, feed(standalone(checkpoint), MIXED_ROWS))
    expected = standalone(checkpoint).predict(MIXED_ROWS)
    if target.classes is None:
        np.testing.assert_allclose(prediction, [each["prediction"] for each in expected], rtol=1e-6)
        return
    assert prediction.tolist() == [each["prediction"] for each in expected]
    assert type(prediction.tolist()[0]) is type(target.classes[0])
    np.testing.assert_allclose(
        probabilities[0], [[*each["probabilities"].values()] for each in expected], atol=1e-6, rtol=0
    )


def test_of_many_columns_all_numbers_are_one_input_and_all_texts_another() -> None:
    features = [numbers(f"n{i}", [float(i), i + 1.0]) for i in range(290)]
    features += [texts(f"t{i}", "x", "y", other=True) for i in range(3)]
    checkpoint = untrained(Preprocessing(features=features, target=TARGETS[0]))
    rows = [{f"n{i}": float(i * k % 5) for i in range(290)} | {"t0": "x", "t2": "z"} for k in range(4)]

    model = onnx.load_model_from_string(to_onnx(alone(checkpoint), rows))

    shapes = {each.name: each.type.tensor_type.shape.dim[1].dim_value for each in model.graph.input}
    assert shapes == {"numbers": 290, "texts": 3}


@pytest.mark.parametrize("names", [("prediction", "probabilities"), ("network/numbers", "network/codes")], ids=str)
def test_a_column_may_be_named_like_a_part_of_the_graph(names: tuple[str, str]) -> None:
    features = [numbers(names[0], [0.0, 1.0]), texts(names[1], "x", "y", other=True)]
    checkpoint = untrained(Preprocessing(features=features, target=TARGETS[0]))

    model = onnx.load_model_from_string(to_onnx(alone(checkpoint), rows_for(alone(checkpoint), {})))

    assert [each.name for each in model.graph.input] == ["numbers", "texts"]
    assert [each.name for each in model.graph.output] == ["prediction", "probabilities"]


def test_an_onnx_file_says_what_it_is() -> None:
    checkpoint = mixed(TARGETS[0])

    model = onnx.load_model_from_string(exported(to_onnx, 0))

    about = json.loads(next(each.value for each in model.metadata_props if each.key == "bestepoch"))
    assert (about["epoch"], about["metrics"], about["target"]["classes"]) == (3, checkpoint.metrics, ["a", "b", "c"])


def test_an_exported_program_takes_any_number_of_rows_and_tells_no_paths_of_the_server() -> None:
    data = exported(to_pt2, 0)
    extra = {"model.json": ""}

    program = torch.export.load(io.BytesIO(data), extra_files=extra).module()

    model = loader.Standalone(json.loads(extra["model.json"]))
    for rows in (MIXED_ROWS[:1], MIXED_ROWS, MIXED_ROWS * 50):
        assert program(*model.tensors(rows)).shape == (len(rows), 3)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert not [name for name in file.namelist() if str(Path(loader.__file__).parent).encode() in file.read(name)]


def test_an_export_with_different_predictions_is_refused() -> None:
    checkpoint = mixed(TARGETS[0])
    model = standalone(checkpoint)

    def wrong(rows: list[dict[str, Any]]) -> Any:
        answers = model(*model.tensors(rows)).detach().numpy().copy()
        answers[-1] += 2e-5 if len(rows) > 1 else 0.0  # in a batch alone
        return answers

    with pytest.raises(Conflict, match=r"^the file of this model cannot be exported: its predictions differ by 2"):
        check(alone(checkpoint), wrong, MIXED_ROWS, "file")
    with pytest.raises(Conflict, match="its predictions differ in shape from"):
        check(alone(checkpoint), lambda rows: np.zeros((1, 3)), MIXED_ROWS, "file")
    with pytest.raises(Conflict):
        check(alone(checkpoint), lambda rows: np.full((len(rows), 3), np.nan), MIXED_ROWS, "file")


def test_rows_are_synthetic_if_the_data_set_is_deleted() -> None:
    checkpoint = mixed(TARGETS[0])

    rows = rows_for(alone(checkpoint), {})

    assert len({row["city"] for row in rows}) == 3
    assert len({row["size"] for row in rows}) > 10
    to_onnx(alone(checkpoint), rows)
