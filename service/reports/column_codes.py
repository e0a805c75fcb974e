"""Columns as a matrix for models of scikit-learn: texts as codes or one-hot, numbers as they are or standardized."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from service.reports.rows import Columns

MAX_TEXTS = 250
"""Texts of a column that have a code of their own; boosted trees have 255 bins."""


@dataclass(frozen=True)
class ColumnCodes:
    """What is fitted on training rows: the most frequent texts of each text column, mean and deviation of numbers."""

    texts: dict[str, dict[str, int]]
    numbers: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, columns: Columns) -> ColumnCodes:
        """Fit to the columns (N,) of the training rows."""
        texts, numbers = {}, {}
        for name, values in columns.items():
            if values.dtype == object:
                counted = Counter(value for value in values.tolist() if value is not None)
                ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
                texts[name] = {text: code for code, (text, _) in enumerate(ordered[:MAX_TEXTS])}
            else:
                known = values[np.isfinite(values)]
                mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
                numbers[name] = mean, deviation if 0 < deviation < np.inf else 1.0
        return cls(texts, numbers)

    @property
    def is_text(self) -> list[bool]:
        """Of each column of `coded`."""
        return [False] * len(self.numbers) + [True] * len(self.texts)

    def coded(self, columns: Columns) -> NDArray[np.float64]:
        """(N, columns) numbers, then codes of texts; NaN where missing, or without a code."""
        parts = [np.where(np.isfinite(columns[name]), columns[name], np.nan) for name in self.numbers]
        parts += [_codes(columns[name], known) for name, known in self.texts.items()]
        return np.stack(parts, axis=1)

    def standardized(self, columns: Columns) -> NDArray[np.float64] | csr_matrix:
        """(N, inputs) standardized numbers, 0 where missing, then the texts one-hot; sparse if there are texts."""
        rows = len(next(iter(columns.values())))
        dense = np.zeros((rows, len(self.numbers)))
        for place, (name, (mean, deviation)) in enumerate(self.numbers.items()):
            values = (columns[name] - mean) / deviation
            dense[:, place] = np.where(np.isfinite(values), values, 0.0)
        if not self.texts:
            return dense
        from scipy import sparse  # comes with scikit-learn, an extra

        parts: list[Any] = [sparse.csr_matrix(dense)]
        for name, known in self.texts.items():
            codes = _codes(columns[name], known)
            found = np.flatnonzero(~np.isnan(codes))
            places = found, codes[found].astype(np.int64)
            parts.append(sparse.csr_matrix((np.ones(len(found)), places), shape=(rows, max(1, len(known)))))
        return sparse.hstack(parts, format="csr")


def _codes(values: NDArray[Any], known: dict[str, int]) -> NDArray[np.float64]:
    """(N,) codes; NaN for texts without one."""
    return np.fromiter((known.get(value, np.nan) for value in values.tolist()), np.float64, len(values))
