"""A network as an exported program of torch.export (.pt2): preprocessing inside, any number of rows."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import torch

from service.serving.exports.model import check, standalone

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from service.serving.exports.model import Rows
    from service.training.checkpoint import Checkpoint

DESCRIPTION = "model.json"


def exported(checkpoint: Checkpoint) -> ExportedProgram:
    """(numbers, codes) -> answers, for any number of rows; see `Standalone.forward`."""
    model = standalone(checkpoint)
    two = model.tensors([{}, {}])  # not one: a size of 1 would be taken for a constant
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(model, two, dynamic_shapes=({0: rows}, {0: rows}), strict=True)
    for node in program.graph.nodes:  # of this machine and this process, and of no use elsewhere
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(name, None)
    return program


def to_pt2(checkpoint: Checkpoint, rows: Rows) -> bytes:
    """The program's file, once it has answered `rows` as the service does; raises Conflict.

    `torch.export.load(file, extra_files={"model.json": ""})` reads it, and what its columns are.
    """
    buffer = io.BytesIO()
    described = {DESCRIPTION: json.dumps(standalone(checkpoint).description)}
    torch.export.save(exported(checkpoint), buffer, extra_files=described)
    buffer.seek(0)
    program, tensors = torch.export.load(buffer).module(), standalone(checkpoint).tensors
    with torch.inference_mode():
        check(checkpoint, lambda asked: program(*tensors(asked)), rows, "exported program")
    return buffer.getvalue()
