"""An ensemble is exported as one model that predicts the same as the service, whatever its members are."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data.preprocess.category_values import TargetMeans
from service.data.preprocess.features import FittedFeature
from service.data.preprocess.preprocessing import FittedTarget, Preprocessing
from service.data.preprocess.sources import table_from_rows
from service.reports.temperature import apply_temperature
from service.serving.exports import standalone as loader
from service.serving.exports.bundle import to_bundle
from service.serving.exports.model import TrainedModel, check
from service.serving.exports.onnx_file import feed, to_onnx
from service.serving.exports.program import to_pt2
from service.serving.exports.rows import rows_for
from service.spec.resolved import Feature
from service.spec.table import ColumnType
from service.training.checkpoint import LoadedCheckpoint
from tests.examples import sampled
from tests.serving.exports.networks import CLIPPED, DATES, TARGETS, mixed, numbers, of_every_encoding, untrained

CITIES = ["", "Böblingen", "Ulm", "a b", "unknown city"]
TEXTS = st.sampled_from([*CITIES, "elsewhere", "unknown", "-"])
ROW = st.fixed_dictionaries(
    {},
    optional={
        "size": st.none() | st.floats(-1e6, 1e6) | st.sampled_from([1e300, -1e300]),
        "weight": st.none() | st.floats(-10, 10),
        "smoker": st.none() | st.booleans(),
        "when": st.sampled_from([None, "1970-01-20T10:30:00Z", "2170-02-01T00:00:00+09:00"]),
        "city": st.none() | TEXTS,
        "street": st.none() | TEXTS,
    },
)
REGRESSIONS = [TARGETS[4], TARGETS[5], CLIPPED, FittedTarget(column="y", mean=3.0, scale=0.5)]


@st.composite
def text_columns(draw: st.DrawFn, name: str) -> FittedFeature:
    """A text column of some categories: one-hot encoded, with an embedding, or as numbers."""
    known = draw(st.lists(st.sampled_from(CITIES), min_size=1, max_size=4, unique=True))
    way = draw(st.sampled_from(["one-hot", "embedding", "frequency", "target"]))
    other, indicator = draw(st.booleans()), draw(st.booleans())
    if way in ("one-hot", "embedding"):
        size = 2 if way == "embedding" else None
        feature = Feature(name, ColumnType.text, tuple(known), other, indicator, embedding_size=size)
        return FittedFeature.fit(feature, np.array(known, dtype=object), "standardize")
    texts = np.array([*known, known[0], None], dtype=object)
    means = TargetMeans(np.arange(len(texts)) % 2, 2, 10.0, 0) if way == "target" else None
    return FittedFeature.fit(Feature(name, ColumnType.text, (), False, indicator, value_inputs=1), texts, "none", means)


@st.composite
def members(draw: st.DrawFn, target: FittedTarget) -> LoadedCheckpoint:
    """A network, not trained, of some of the columns in any order and encoding."""
    numeric = draw(st.sampled_from(["standardize", "robust", "quantile", "piecewise_linear", "none"]))
    shift = draw(st.floats(1.0, 3.0))
    columns = [
        numbers("size", [1.0, 2.0, np.nan, 4.0 * shift, 9.0], numeric),
        numbers("weight", [-1.0, shift, 3.0], numeric),
        numbers("smoker", [0.0, 1.0, 1.0], numeric, ColumnType.boolean),
        numbers("when", [date * shift for date in DATES[1:]], numeric, ColumnType.datetime),
        draw(text_columns("city")),
        draw(text_columns("street")),
    ]
    chosen = draw(st.lists(st.sampled_from(columns), min_size=1, unique_by=lambda each: each.column))
    architecture = draw(
        st.sampled_from(
            [
                {"hidden": [8]},
                {"hidden": [], "batch_norm": False},
                {"kind": "resnet", "width": 6, "blocks": 1},
                {"kind": "tabm", "heads": 2, "hidden": [4]},
                {"kind": "ft_transformer", "width": 4, "attention_heads": 2},
            ]
        )
    )
    preprocessing = Preprocessing(features=chosen, target=target, null_values=["unknown", "-"])
    return untrained(preprocessing, architecture, draw(st.integers(0, 9)))


@st.composite
def models(draw: st.DrawFn) -> TrainedModel:
    """A weighted average of two to four such networks, of the same classes or each with a scale of its own."""
    classes = draw(st.sampled_from(TARGETS[:4]))
    number = draw(st.integers(2, 4))
    if draw(st.booleans()):
        checkpoints = [draw(members(classes)) for _ in range(number)]
        temperature = draw(st.sampled_from([1.0, 0.5, 2.5]))
    else:
        checkpoints, temperature = [draw(members(draw(st.sampled_from(REGRESSIONS)))) for _ in range(number)], 1.0
    weights = draw(st.lists(st.floats(0.01, 10.0), min_size=number, max_size=number))
    return TrainedModel.weighted(checkpoints, weights, temperature)


@settings(max_examples=80)
@given(models(), st.lists(ROW, max_size=5))
def test_any_average_predicts_the_same_from_its_description(model: TrainedModel, rows: list[dict[str, Any]]) -> None:
    columns = {feature.column for feature in model.preprocessing.features}
    rows = [{name: value for name, value in row.items() if name in columns} for row in rows]
    again = loader.Standalone(json.loads(json.dumps(model.description)))
    again.load_weights([checkpoint.network.state_dict() for checkpoint in model.checkpoints])
    again.eval()

    with torch.inference_mode():
        check(model, lambda asked: again(*again.tensors(asked)), [*rows, *rows_for(model, {})[:4]], "description")


@sampled(1, 3)
@given(models())
def test_any_average_is_written_as_a_bundle_an_onnx_file_and_a_program(model: TrainedModel) -> None:
    rows = [row for row in rows_for(model, {})[:6] if "" not in row.values()]  # in ONNX, an empty text may be a null

    for write in (to_onnx, to_pt2):
        write(model, rows)  # which itself compares the predictions
    to_bundle(model, rows, {})


def ensemble(target: FittedTarget = TARGETS[0], temperature: float = 1.0) -> TrainedModel:
    return TrainedModel.weighted([mixed(target), mixed(target, "quantile")], [1.0, 3.0], temperature)


def test_an_average_of_images_and_sequences_is_written() -> None:
    features = [numbers(f"x{i}", [float(i), i + 2.0, 9.0]) for i in range(12)]
    preprocessing = Preprocessing(features=features, target=TARGETS[0])
    convolution = {"kind": "conv1d", "out_channels": 5, "kernel_size": 2}
    architectures: Sequence[dict[str, Any]] = [
        {"kind": "cnn", "shape": [2, 3, 4], "channels": [4], "kernel_size": 3, "pool": 2, "hidden": [8]},
        {"kind": "layers", "shape": [8, 3], "layers": [convolution, {"kind": "flatten"}]},
        {"hidden": [5]},
    ]
    model = TrainedModel.weighted([untrained(preprocessing, each) for each in architectures], [1.0, 2.0, 3.0])

    for write in (to_onnx, to_pt2):
        write(model, rows_for(model, {}))


@pytest.mark.parametrize("temperature", [0.4, 3.0])
@pytest.mark.parametrize("write", [to_onnx, to_pt2])
def test_probabilities_are_calibrated_in_the_file(write: Callable[..., bytes], temperature: float) -> None:
    model = TrainedModel([mixed(TARGETS[0])], temperature=temperature)
    rows = rows_for(model, {})

    data = write(model, rows)

    raw = TrainedModel(model.checkpoints).predicted(table_from_rows(rows, model.preprocessing))
    expected = apply_temperature(raw, temperature)
    module = model.standalone()
    if write is to_onnx:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        (found,) = session.run(["probabilities"], feed(module, rows))
    else:
        found = torch.export.load(io.BytesIO(data)).module()(*module.tensors(rows)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(found - raw).max() > 0.01


def test_an_onnx_file_has_an_input_for_each_column_of_any_member_and_describes_the_members() -> None:
    [one, other] = of_every_encoding(TARGETS[0]), mixed(TARGETS[0])
    model = TrainedModel.weighted([one, replace_columns(other, ["smoker", "size"])], [1.0, 1.0])

    file = onnx.load_model_from_string(to_onnx(model, rows_for(model, {})))

    assert {each.name for each in file.graph.input} == {each.column for each in one.preprocessing.features}
    about = json.loads(next(each.value for each in file.metadata_props if each.key == "bestepoch"))
    assert [(each["weight"], each["epoch"]) for each in about["members"]] == [(0.5, 3), (0.5, 3)]
    assert about["members"][1]["spec"] == other.spec.model_dump(mode="json")


def replace_columns(checkpoint: LoadedCheckpoint, names: list[str]) -> LoadedCheckpoint:
    features = [each for each in checkpoint.preprocessing.features if each.column in names]
    return untrained(checkpoint.preprocessing.model_copy(update={"features": features}))


def test_equal_averages_are_equal_bytes() -> None:
    for write in (to_onnx, to_pt2, lambda model, rows: to_bundle(model, rows, {})):
        one, other = (write(two_seeds(), rows_for(two_seeds(), {})[:3]) for _ in range(2))
        assert one == other


def two_seeds() -> TrainedModel:
    """Networks with the same preprocessing."""
    preprocessing = Preprocessing(features=[numbers("x", [1.0, 2.0])], target=TARGETS[0])
    return TrainedModel.weighted([untrained(preprocessing, seed=seed) for seed in (1, 2)], [1.0, 2.0])


def test_members_share_their_preprocessing_where_it_is_the_same() -> None:
    other = Preprocessing(features=[numbers("x", [1.0, 5.0])], target=TARGETS[0])
    checkpoints = [*two_seeds().checkpoints, untrained(other)]
    model = TrainedModel.weighted(checkpoints, [1.0, 2.0, 3.0])
    module = model.standalone()

    with torch.inference_mode():
        check(model, lambda rows: module(*module.tensors(rows)), rows_for(model, {}), "module")
    assert (len(module.readers), module.read_by) == (2, [0, 0, 1])


def test_a_bundle_of_an_average_is_loaded_from_its_folder(tmp_path: Path) -> None:
    model = ensemble(TARGETS[5])
    rows = rows_for(model, {})

    zipfile.ZipFile(io.BytesIO(to_bundle(model, rows, {"README.md": "# y"}))).extractall(tmp_path)

    found = [answer["prediction"] for answer in loader.load(tmp_path).predict(rows)]
    expected = model.predicted(table_from_rows(rows, model.preprocessing))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (tmp_path / "README.md").read_text() == "# y"
    assert len(torch.load(tmp_path / "weights.pt", weights_only=True)) == 2


def test_columns_that_the_data_of_a_member_lacks_have_plausible_values() -> None:
    one = mixed(TARGETS[0])
    inline = {"data": {"kind": "inline", "x": [[1.0], [2.0], [3.0]], "y": ["a", "b", "c"]}}
    own = untrained(
        Preprocessing(features=[numbers("x0", [1.0, 2.0])], target=TARGETS[0], null_values=["unknown", "-"])
    )
    other = own._replace(spec=own.spec.model_validate(inline))
    model = TrainedModel.weighted([one, other], [1.0, 1.0])

    rows = rows_for(model, {})

    assert {tuple(row) for row in rows} == {("size", "city", "when", "linear", "smoker", "x0")}
    assert [row["x0"] for row in rows[-3:]] == [1.0, 2.0, 3.0]
