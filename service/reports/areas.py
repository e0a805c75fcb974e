"""Areas under the curves of each class against all others, their means over classes, and the curves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.reports import curves
from service.reports.bootstrap import Bootstrap
from service.reports.intervals import UNDEFINED, Array
from service.reports.sections.classification import PrecisionRecallCurve, RocCurve
from service.reports.sections.estimate import Estimate


class Areas(NamedTuple):
    """Areas and curves of a classifier."""

    roc_auc: Estimate
    average_precision: Estimate
    by_class: dict[int, tuple[Estimate, Estimate]]  # ROC AUC and average precision
    roc: list[RocCurve]
    precision_recall: list[PrecisionRecallCurve]


class _Area:
    """Areas of one kind, by class, with the rows' influences summed over the bootstrap's units."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.influences: list[Array] = []
        self.total: Array = np.zeros(1)
        self.defined: list[float] = []
        self.rows: list[float] = []

    def add(self, value: float, influences: Array, rows: float, *, listed: bool) -> None:
        if listed:
            self.values.append(value)
            self.influences.append(influences)
            self.rows.append(rows)
        if np.isfinite(value):
            self.defined.append(value)
            self.total = self.total + influences

    def estimates(self, bootstrap: Bootstrap) -> tuple[Estimate, list[Estimate]]:
        """The mean of the defined areas, and the listed ones."""
        if not self.defined:
            return UNDEFINED, [UNDEFINED] * len(self.values)
        values = [float(np.mean(self.defined)), *self.values]
        influences = [self.total / len(self.defined), *self.influences]
        mean, *listed = bootstrap.linear(values, influences, [sum(self.rows), *self.rows], 0.0, 1.0)
        return mean, listed


def class_areas(
    truth: NDArray[np.int64],
    probabilities: NDArray[Any],
    names: Sequence[str],
    listed: Sequence[int],
    drawn: Collection[int],
    bootstrap: Bootstrap,
) -> Areas:
    """Areas of the classes `listed` and of all together, and curves of the classes `drawn`.

    Of two classes, `roc_auc`, `average_precision` and the curves are those of the second one.
    truth: (N,), probabilities: (N, C), names: C.
    """
    two = len(names) == 2
    roc, precision = _Area(), _Area()
    roc_curves, precision_curves, grids = [], [], []
    for i, name in enumerate(names):
        ranking = curves.rank(truth == i, probabilities[:, i])
        rows = min(ranking.positives, ranking.negatives)
        for area, found in ((roc, curves.roc_auc(ranking)), (precision, curves.average_precision(ranking))):
            area.add(found[0], bootstrap.unit_sums(found[1]), rows, listed=i in listed)
        if not (ranking.positives and ranking.negatives):
            continue
        if i in drawn and not (two and i == 0):
            roc_curves.append(curves.roc_curve(name, ranking))
            precision_curves.append(curves.precision_recall_curve(name, ranking))
        grids.append(curves.on_grid(ranking))
    if grids and not two:
        macro = curves.macro_curves(*np.mean(grids, 0))
        roc_curves.append(macro[0])
        precision_curves.append(macro[1])
    (roc_mean, roc_listed), (precision_mean, precision_listed) = (
        roc.estimates(bootstrap),
        precision.estimates(bootstrap),
    )
    if two:
        roc_mean, precision_mean = roc_listed[1], precision_listed[1]
    by_class = dict(zip(listed, zip(roc_listed, precision_listed, strict=True), strict=True))
    return Areas(roc_mean, precision_mean, by_class, roc_curves, precision_curves)
