"""The torch.export program (.pt2) of a model: preprocessing included, any number of rows."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import torch

from service.serving.exports.model import check

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from service.serving.exports.model import Rows, TrainedModel

DESCRIPTION = "model.json"


def exported(model: TrainedModel) -> ExportedProgram:
    """(numbers, codes) -> answers, for any number of rows; see `Standalone.forward`."""
    module = model.standalone()
    two = module.tensors([{}, {}])  # two rows, because torch.export specializes a size of 1
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(module, two, dynamic_shapes=({0: rows}, {0: rows}), strict=True)
    for node in program.graph.nodes:  # metadata of this machine and process
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(name, None)
    return program


def to_pt2(model: TrainedModel, rows: Rows) -> bytes:
    """The .pt2 file. Raises Conflict unless it predicts the same for `rows` as the service.

    `torch.export.load(file, extra_files={"model.json": ""})` reads the program and its columns.
    """
    buffer = io.BytesIO()
    described = {DESCRIPTION: json.dumps(model.description)}
    torch.export.save(exported(model), buffer, extra_files=described)
    buffer.seek(0)
    program, tensors = torch.export.load(buffer).module(), model.standalone().tensors
    with torch.inference_mode():
        check(model, lambda asked: program(*tensors(asked)), rows, "exported program")
    return buffer.getvalue()
