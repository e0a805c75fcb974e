"""Predictions of the same rows with some columns replaced, fast: for the importance and the effects of columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.data.preprocess.preprocessing import Table
from service.spec.graph import Graph
from service.training.checkpoint import LoadedCheckpoint

STEP_VALUES = 2**20
"""Values of the widest layer per step."""


def use_one_thread() -> None:
    """For this process: sums of several threads may differ in the last bit."""
    torch.set_num_threads(1)


class ReplacedColumns:
    """The network on N rows whose inputs are encoded once; only replaced columns are encoded again.

    Equal to `InferenceModel` up to rounding, and much faster for many rows.
    """

    def __init__(self, checkpoint: LoadedCheckpoint, table: Table) -> None:
        """`table`: the feature columns of the rows."""
        self._network, self._preprocessing = checkpoint.network, checkpoint.preprocessing
        self._inputs, self._codes = self._preprocessing.inputs(table), self._preprocessing.codes(table)
        self._step = max(1, STEP_VALUES // checkpoint.graph.widest)
        self._places: dict[str, tuple[slice, int]] = {}
        end = coded = 0
        for feature in self._preprocessing.features:
            start, end = end, end + feature.width
            self._places[feature.column] = slice(start, end), coded
            coded += feature.embedding_size is not None

    @torch.inference_mode()
    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(N, classes) probabilities, or (N,) numbers in the target's unit, with these columns (N,) replaced."""
        inputs, codes = self._encoded(columns)
        steps = []
        for start in range(0, len(inputs), self._step):
            rows = slice(start, start + self._step)
            coded = None if codes is None else torch.from_numpy(codes[rows])
            steps.append(self._network(torch.from_numpy(inputs[rows]), coded))
        outputs = torch.cat(steps)
        if self._preprocessing.target.classes is None:
            return self._preprocessing.unstandardize(outputs[:, 0].numpy())
        shares: NDArray[np.float64] = torch.softmax(outputs.double(), dim=1).numpy()
        return shares

    def _encoded(self, columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        if not columns:
            return self._inputs, self._codes
        inputs, codes = self._inputs.copy(), None if self._codes is None else self._codes.copy()
        for feature in self._preprocessing.features:
            if feature.column not in columns:
                continue
            values, (place, coded) = columns[feature.column], self._places[feature.column]
            if feature.embedding_size is not None:
                assert codes is not None
                codes[:, coded] = feature.codes(values)
            else:
                feature.write(values, inputs[:, place])
        return inputs, codes


def multiplications(graph: Graph) -> int:
    """An estimate of the multiplications for one row: each parameter once for each position, e.g. each token."""
    return sum(node.layer.parameters * graph.copies[node.name] * _positions(node.layer.shape) for node in graph.nodes)


def _positions(shape: tuple[int, ...]) -> int:
    """Of a flat layer 1, of tokens (tokens, width) their number, of images (channels, height, width) their pixels."""
    return shape[0] if len(shape) == 2 else math.prod(shape[1:])
