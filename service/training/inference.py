"""Inference: predictions of rows, each bit-identical whatever batch it is in (on the CPU, with one thread)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.data.preprocess.preprocessing import Table
from service.training.array import NetworkArray
from service.training.checkpoint import LoadedCheckpoint
from service.training.operators import FAST

BLOCK_ROWS = 256
"""Rows that are preprocessed at once."""
STEP_VALUES = 2**15
"""Values of the widest layer per step: larger steps are not faster, and a single row takes a whole step."""


class InferenceModel:
    """A checkpoint that is loaded for inference.

    Every step has the same number of rows, filled up with empty ones, and uses the engine of training, whose padded
    widths make a row's bits independent of its place in the step.
    """

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        self.preprocessing = checkpoint.preprocessing
        state = checkpoint.network.state_dict()
        self._array = NetworkArray([checkpoint.graph], [state], torch.device("cpu"), trained=False)
        self.size_bytes = self._array.size_bytes + len(self.preprocessing.model_dump_json())
        """Memory of the weights, and an estimate for the preprocessing."""
        graph = checkpoint.graph
        shaped = any(len(layer.output_shape) > 1 for layer in graph.layers)
        widest = max(node.layer.outputs * graph.copies[node.name] for node in graph.nodes)
        # By autograd a row's bits may depend on its place in the step, whose width is not padded.
        by_autograd = any(type(layer) not in FAST for layer in graph.layers)
        self._step = 1 if by_autograd else step_rows(widest, shaped=shaped)

    @torch.inference_mode()
    def outputs(self, table: Table) -> Tensor:
        """(rows, outputs) float32: logits, or standardized predictions."""
        steps = [
            self._array.forward(x, training=False, codes=codes)[0, :, : self._array.outputs]
            for start in range(0, table.rows, BLOCK_ROWS)
            for x, codes in self._inputs(table, start)
        ]
        return torch.cat(steps)[: table.rows]

    @torch.inference_mode()
    def shares(self, table: Table) -> Tensor:
        """(rows, classes) float64: the probability of each class."""
        return torch.softmax(self.outputs(table).double(), dim=1)

    def numbers(self, table: Table) -> NDArray[np.float64]:
        """(rows,) predictions in the target's unit; infinite beyond float64."""
        return self.preprocessing.unstandardize(self.outputs(table)[:, 0].numpy())

    def _inputs(self, table: Table, start: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(1, step, padded inputs) and (1, step, coded columns) of the steps of a block of rows from `start` on."""
        stop = min(start + BLOCK_ROWS, table.rows)
        missing = BLOCK_ROWS - (stop - start)
        columns = {
            name: np.concatenate([values[start:stop], np.full(missing, None if values.dtype == object else np.nan)])
            for name, values in table.columns.items()
        }
        block = Table(columns, BLOCK_ROWS)
        numbers = self._array.pad(torch.from_numpy(self.preprocessing.inputs(block)))
        codes = self.preprocessing.codes(block)
        for first in range(0, stop - start, self._step):
            rows = slice(first, first + self._step)
            yield numbers[rows].unsqueeze(0), None if codes is None else torch.from_numpy(codes[rows]).unsqueeze(0)


def step_rows(widest: int, *, shaped: bool) -> int:
    """The number of rows of a step, by the width of the widest layer: 32, 64, 128 or 256.

    A multiple of 32 leaves no remainder in element-wise kernels, whatever the layer's width. Wider networks for images
    or sequences (`shaped`) take one row per step: a row takes the same time alone, while flat layers read their weights
    in each step.
    """
    rows = BLOCK_ROWS
    while rows > 32 and rows * widest > STEP_VALUES:
        rows //= 2
    return 1 if shaped and rows * widest > STEP_VALUES else rows
