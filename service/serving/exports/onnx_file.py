"""The ONNX export of a model: raw columns in, predictions out, any number of rows."""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import onnxscript  # noqa: F401, which torch.onnx needs
import torch

from service.serving.exports.cells import MISSING, OTHER
from service.serving.exports.model import check
from service.serving.exports.program import exported

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

    from service.serving.exports.model import Rows, TrainedModel
    from service.serving.exports.standalone import Standalone

MAX_COLUMNS = 256
"""Most inputs of a file; see `is_wide`."""
NUMBERS, TEXTS = "numbers", "texts"
ANSWERS = ("prediction", "probabilities")
INNER = "network/"  # prefix of the names that torch has written
ML_OPSET = 3


def to_onnx(model: TrainedModel, rows: Rows) -> bytes:
    """The ONNX file. Raises Conflict unless onnxruntime predicts the same for `rows` as the service.

    Inputs are named as the columns and are (rows, 1): float64 with NaN where a number is missing, dates in seconds
    since 1970, booleans as 1 and 0; text unchanged, with an empty string for a missing value, or one of the data set's
    null values if the empty string is a category. Outputs: `prediction` (rows,), and for classification
    `probabilities` (rows, classes).
    """
    module = model.standalone()
    proto = onnx.compose.add_prefix(_converted(model), INNER)
    _take_columns(proto.graph, module)
    _name_answers(proto.graph, module)
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    proto.producer_name = "bestepoch"
    onnx.helper.set_model_props(proto, {"bestepoch": json.dumps(_about(model))})
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString()
    _check(model, data, rows, module)
    return data


def _about(model: TrainedModel) -> dict[str, Any]:
    """The description of the model, with epoch, metrics and spec of each network."""
    origins = [
        {"epoch": each.epoch, "metrics": each.metrics, "spec": each.spec.model_dump(mode="json")}
        for each in model.checkpoints
    ]
    if len(origins) == 1:
        return {**origins[0], **model.description}
    members = zip(origins, model.description["members"], strict=True)
    return {**model.description, "members": [{**origin, **member} for origin, member in members]}


def _converted(model: TrainedModel) -> ModelProto:
    """The conversion by torch.onnx: inputs `numbers` and `codes`, one output."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within torch
        program = torch.onnx.export(exported(model), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto


def _take_columns(graph: GraphProto, model: Standalone) -> None:
    """Prepend nodes that compute the two inputs of torch from raw columns."""
    numbers, codes = (each.name for each in graph.input)
    numeric = [feature["column"] for feature in model.columns.numeric]
    texts = [feature["column"] for feature in model.columns.texts]
    wide = is_wide(model)
    front, inner = [], list(graph.node)
    del graph.input[:]
    del graph.node[:]
    if numeric:
        names = _inputs(graph, numeric, onnx.TensorProto.DOUBLE, NUMBERS if wide else None)
        front.append(onnx.helper.make_node("Concat", names, [numbers], axis=1))
    if texts:
        names = _inputs(graph, texts, onnx.TensorProto.STRING, TEXTS if wide else None)
        if wide:
            names = [f"{INNER}text {place}" for place in range(len(texts))]
            front.append(onnx.helper.make_node("Split", [TEXTS], names, axis=1, num_outputs=len(texts)))
        coded = [f"{INNER}code {place}" for place in range(len(texts))]
        front += [_encoder(model, place, name, coded[place]) for place, name in enumerate(names)]
        front.append(onnx.helper.make_node("Concat", coded, [codes], axis=1))
    graph.node.extend([*front, *inner])


def is_wide(model: Standalone) -> bool:
    """Whether all numbers are one input and all texts another: many columns, or one named like a part of the graph."""
    columns = {feature["column"] for feature in model.description["features"]}
    taken = not columns.isdisjoint(ANSWERS) or any(name.startswith(INNER) for name in columns)
    return len(columns) > MAX_COLUMNS or taken


def _inputs(graph: GraphProto, columns: list[str], kind: int, together: str | None) -> list[str]:
    """Add inputs, one per column or one for all; returns their names."""
    widths = dict.fromkeys(columns, 1) if together is None else {together: len(columns)}
    graph.input.extend(onnx.helper.make_tensor_value_info(name, kind, ["rows", wide]) for name, wide in widths.items())
    return list(widths)


def _encoder(model: Standalone, place: int, text: str, coded: str) -> NodeProto:
    """A node from the text of a column to category codes."""
    categories = model.columns.texts[place]["categories"]
    codes = {
        **dict.fromkeys(_nulls(model, place), MISSING),
        **{category: code for code, category in enumerate(categories)},
    }
    options: dict[str, Any] = {
        "keys_strings": list(codes),
        "values_int64s": list(codes.values()),
        "default_int64": OTHER,
    }
    return onnx.helper.make_node("LabelEncoder", [text], [coded], domain="ai.onnx.ml", **options)


def _nulls(model: Standalone, place: int) -> list[str]:
    """Texts for a missing value, because ONNX strings are never null: the empty string, unless it is a category."""
    nulls = dict.fromkeys(["", *model.description["null_values"]])
    return [null for null in nulls if null not in model.columns.texts[place]["categories"]]


def _name_answers(graph: GraphProto, model: Standalone) -> None:
    """Replace torch's one output by `prediction` and, for classification, `probabilities`."""
    (answers,) = (each.name for each in graph.output)
    classes, double = model.target["classes"], onnx.TensorProto.DOUBLE
    del graph.output[:]
    if classes is None:
        graph.node.append(onnx.helper.make_node("Identity", [answers], ["prediction"]))
        graph.output.append(onnx.helper.make_tensor_value_info("prediction", double, ["rows"]))
        return
    names, best = f"{INNER}classes", f"{INNER}best"
    values = np.array(classes)
    kind = onnx.TensorProto.STRING if values.dtype.kind == "U" else onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    texts: Any = [str(value).encode() for value in classes] if kind == onnx.TensorProto.STRING else values
    graph.initializer.append(onnx.helper.make_tensor(names, kind, [len(classes)], texts))
    graph.node.extend(
        [
            onnx.helper.make_node("Identity", [answers], ["probabilities"]),
            onnx.helper.make_node("ArgMax", [answers], [best], axis=1, keepdims=0),
            onnx.helper.make_node("Gather", [names, best], ["prediction"], axis=0),
        ]
    )
    graph.output.append(onnx.helper.make_tensor_value_info("prediction", kind, ["rows"]))
    graph.output.append(onnx.helper.make_tensor_value_info("probabilities", double, ["rows", len(classes)]))


def _check(model: TrainedModel, data: bytes, rows: Rows, module: Standalone) -> None:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    output = "prediction" if module.target["classes"] is None else "probabilities"
    check(model, lambda asked: session.run([output], feed(module, asked))[0], rows, "ONNX file")


def feed(model: Standalone, rows: Rows) -> dict[str, NDArray[Any]]:
    """The inputs of the file, from rows by column name."""
    numbers, _ = model.tensors(rows)
    columns = {feature["column"]: numbers[:, [place]].numpy() for place, feature in enumerate(model.columns.numeric)}
    for place, feature in enumerate(model.columns.texts):
        found = [row.get(feature["column"]) for row in rows]
        missing = next(iter(_nulls(model, place)), "")
        columns[feature["column"]] = np.array([[missing if text is None else text] for text in found], dtype=object)
    if not is_wide(model):
        return columns
    kinds = {NUMBERS: model.columns.numeric, TEXTS: model.columns.texts}
    return {
        kind: np.concatenate([columns[feature["column"]] for feature in features], axis=1)
        for kind, features in kinds.items()
        if features
    }
