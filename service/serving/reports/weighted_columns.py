"""Predictions of several networks with some columns replaced, averaged row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.preprocessing import Table
from service.training.checkpoint import LoadedCheckpoint
from service.training.replaced_columns import ReplacedColumns


class WeightedColumns:
    """The weighted average of networks on N rows; each row has only the networks that were not trained on it."""

    def __init__(self, checkpoints: Sequence[LoadedCheckpoint], weights: NDArray[np.float64], table: Table) -> None:
        """`weights`: (M, N) of the M networks; `table`: the feature columns of the rows, of all networks."""
        self._weights, self._sums = weights, weights.sum(0)
        self._members = [
            _Member(checkpoint, own, table) for checkpoint, own in zip(checkpoints, weights, strict=True) if own.any()
        ]

    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """(N, classes) probabilities, or (N,) numbers in the target's unit, with these columns (N,) replaced."""
        outputs = [member.outputs(columns) for member in self._members]
        total = np.zeros((len(self._sums), *outputs[0].shape[1:]))
        for member, values in zip(self._members, outputs, strict=True):
            total[member.rows] += _scaled(values, member.weights)
        return _scaled(total, 1.0 / self._sums)


class _Member:
    def __init__(self, checkpoint: LoadedCheckpoint, weights: NDArray[np.float64], table: Table) -> None:
        self.rows = np.flatnonzero(weights)
        self.weights = weights[self.rows]
        self._names = {feature.column for feature in checkpoint.preprocessing.features}
        own = {name: values[self.rows] for name, values in table.columns.items() if name in self._names}
        self._network = ReplacedColumns(checkpoint, Table(own, len(self.rows)))
        self._unchanged: NDArray[np.float64] | None = None

    def outputs(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Of its rows."""
        own = {name: values[self.rows] for name, values in columns.items() if name in self._names}
        if own:
            return self._network(own)
        if self._unchanged is None:
            self._unchanged = self._network({})
        return self._unchanged


def _scaled(values: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n, ...) times factors (n,)."""
    return values * (factors if values.ndim == 1 else factors[:, None])
