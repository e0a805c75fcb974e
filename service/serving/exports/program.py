"""The torch.export program (.pt2) of a network: preprocessing included, any number of rows."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import torch

from service.serving.exports.model import check, standalone

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from service.serving.exports.model import Rows
    from service.training.checkpoint import LoadedCheckpoint

DESCRIPTION = "model.json"


def exported(checkpoint: LoadedCheckpoint) -> ExportedProgram:
    """(numbers, codes) -> answers, for any number of rows; see `Standalone.forward`."""
    model = standalone(checkpoint)
    two = model.tensors([{}, {}])  # two rows, because torch.export specializes a size of 1
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(model, two, dynamic_shapes=({0: rows}, {0: rows}), strict=True)
    for node in program.graph.nodes:  # metadata of this machine and process
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(name, None)
    return program


def to_pt2(checkpoint: LoadedCheckpoint, rows: Rows) -> bytes:
    """The .pt2 file. Raises Conflict unless it predicts the same for `rows` as the service.

    `torch.export.load(file, extra_files={"model.json": ""})` reads the program and its columns.
    """
    buffer = io.BytesIO()
    described = {DESCRIPTION: json.dumps(standalone(checkpoint).description)}
    torch.export.save(exported(checkpoint), buffer, extra_files=described)
    buffer.seek(0)
    program, tensors = torch.export.load(buffer).module(), standalone(checkpoint).tensors
    with torch.inference_mode():
        check(checkpoint, lambda asked: program(*tensors(asked)), rows, "exported program")
    return buffer.getvalue()
