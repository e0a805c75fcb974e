"""Numbers for the texts of a column with many values: their frequency, or their mean target, in the training rows.

A training row's mean target is computed out of fold: from training rows outside its own inner fold, so that no input
contains the row's own target. All other rows get the mean target of all training rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.data.preprocess.scaling import moments
from service.spec.data import texts_with_numbers

INNER_FOLDS = 5
MAX_CHARACTERS = 2**20
"""Length of all texts of a column that have numbers together; they are stored in the checkpoint."""


def vocabulary(texts: NDArray[Any], inputs: int) -> list[str]:
    """The most frequent of `texts` (n,), in order of the text; those of equal frequency in this order, too."""
    found: dict[str, int] = {}
    for text in texts.tolist():
        if text is not None:
            found[text] = found.get(text, 0) + 1
    ranked = sorted(found, key=lambda text: (-found[text], text))[: texts_with_numbers(inputs)]
    lengths = np.cumsum([len(text) for text in ranked])
    return sorted(ranked[: int(np.searchsorted(lengths, MAX_CHARACTERS, side="right"))])


def frequencies(codes: NDArray[np.int64], categories: int) -> NDArray[np.float64]:
    """(categories + 1, 1) the share of the rows of `codes` (n,) in each category, then 0 for all other texts.

    Scaled to mean 0 and standard deviation 1 over the rows; code -1 is all other texts, and missing ones.
    """
    shares = np.append(np.bincount(codes[codes >= 0], minlength=categories) / max(len(codes), 1), 0.0)
    mean, scale = moments(shares[codes])
    scaled: NDArray[np.float64] = (shares[:, None] - mean) / scale
    return scaled


class TargetMeans(NamedTuple):
    """Smoothed means of the target by category (m-estimates; Micci-Barreca 2001), in its standard deviations.

    (sum of the category's targets + smoothing x overall mean) / (rows of the category + smoothing), less the overall
    mean. Means are of the target of a regression, of class 1 where there are two classes, else of each class.
    """

    y: NDArray[np.int64] | NDArray[np.float32]  # (n,) the training rows' classes or numbers
    classes: int  # 0: regression
    smoothing: float
    seed: int

    def of_categories(self, codes: NDArray[np.int64], categories: int) -> NDArray[np.float64]:
        """(categories + 1, inputs) by the rows of `codes` (n,), for each category and then for all other texts."""
        return self._scaled(self._means(codes, np.ones(len(codes), dtype=np.bool_), categories))

    def out_of_fold(self, codes: NDArray[np.int64], categories: int) -> NDArray[np.float32]:
        """(n, inputs) for each row, by the rows of all inner folds but its own."""
        fold = np.random.default_rng(self.seed).permutation(len(codes)) % INNER_FOLDS
        found = np.zeros((len(codes), self._inputs), dtype=np.float32)
        for number in range(INNER_FOLDS):
            own = fold == number
            found[own] = self._scaled(self._means(codes, ~own, categories))[codes[own]]
        return found

    @property
    def _inputs(self) -> int:
        return self.classes if self.classes > 2 else 1

    def _means(self, codes: NDArray[np.int64], rows: NDArray[np.bool_], categories: int) -> NDArray[np.float64]:
        """(categories + 1, inputs) smoothed means over `rows` alone; the last is the overall mean."""
        taken, y = codes[rows], self.y[rows]
        prior = self._sums(np.zeros_like(taken), y, 1) / max(len(y), 1)
        known = taken >= 0
        sums = self._sums(taken[known], y[known], categories) + self.smoothing * prior
        counts = np.bincount(taken[known], minlength=categories)[:, None] + self.smoothing
        means = np.where(counts > 0, sums / np.maximum(counts, np.finfo(np.float64).tiny), prior)
        return np.concatenate([means, prior])

    def _sums(self, codes: NDArray[np.int64], y: NDArray[Any], categories: int) -> NDArray[np.float64]:
        """(categories, inputs) sums of the target, or numbers of rows of the classes."""
        if not self.classes:
            numbers: NDArray[np.float64] = np.bincount(codes, y.astype(np.float64), categories).astype(np.float64)
            return numbers[:, None]
        cells = np.bincount(codes * self.classes + y, minlength=categories * self.classes)
        sums: NDArray[np.float64] = cells.reshape(categories, self.classes).astype(np.float64)
        return sums if self.classes > 2 else sums[:, 1:]

    def _scaled(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """In standard deviations of the target over all training rows, from its mean."""
        if self.classes:
            shares = (np.bincount(self.y.astype(np.int64), minlength=self.classes) / len(self.y))[-self._inputs :]
            deviation = np.sqrt(shares * (1 - shares))
            return (means - shares) / np.where(deviation > 0, deviation, 1.0)
        mean, scale = moments(self.y.astype(np.float64))
        return (means - mean) / scale
