"""Predictions of a job or of a version for rows that it was not trained on, from the files that jobs have kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.data.formats import prediction_table
from service.data.formats.prediction_table import KEPT_PARTS, PredictionSource, PredictionTable
from service.domain.report import ReportedMember
from service.ensembling.held_out import WeightedMean
from service.errors import Conflict, PredictionsCorrupt
from service.serving.verified import check_sha256


@dataclass(frozen=True)
class HeldOutPredictions:
    """Predictions of N rows, with the weights of M members in them."""

    table: PredictionTable
    """Of a version, `source` is the first member's, and rows are in their order in the stored table."""
    weights: NDArray[np.float64]
    """(M, N) 0 where a member was trained on the row, or did not predict it."""
    sources: tuple[PredictionSource, ...]
    """What made the predictions of each member."""

    def only(self, part: str) -> HeldOutPredictions:
        """The rows of one part."""
        table, first = self.table.only(part), self.table.validation_rows if part == KEPT_PARTS[1] else 0
        return HeldOutPredictions(table, self.weights[:, first : first + len(table.row)], self.sources)

    @property
    def finite(self) -> HeldOutPredictions:
        """The rows with finite predictions; raises Conflict if there are rows, but none of them has."""
        probabilities = self.table.probabilities
        kept = np.isfinite(self.table.prediction if probabilities is None else probabilities.sum(axis=1))
        if kept.all():
            return self
        if not kept.any():
            raise Conflict("no prediction is finite")
        table, validation = self.table, int(np.count_nonzero(kept[: self.table.validation_rows]))
        left = PredictionTable(
            table.source,
            table.row[kept],
            validation,
            table.truth[kept],
            table.prediction[kept],
            None if probabilities is None else np.ascontiguousarray(probabilities[kept]),
        )
        return HeldOutPredictions(left, self.weights[:, kept], self.sources)

    @property
    def outputs(self) -> NDArray[np.float64]:
        """(N, classes) probabilities, or (N,) numbers."""
        values: NDArray[Any] = self.table.prediction if self.table.probabilities is None else self.table.probabilities
        return values.astype(np.float64)


def held_out(members: Sequence[ReportedMember]) -> HeldOutPredictions:
    """The kept predictions of a job, or the weighted mean of those of several.

    Validation rows are averaged over the members that validated them; test rows are those that all members have as test
    rows. Raises PredictionsCorrupt.
    """
    tables = [_read(member) for member in members]
    sources = tuple(table.source for table in tables)
    if len(tables) == 1:
        return HeldOutPredictions(tables[0], np.ones((1, len(tables[0].row))), sources)
    parts = [_averaged(tables, members, part) for part in KEPT_PARTS]
    row, truth, values, weights = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    source, validation = tables[0].source, len(parts[0][0])
    if source.classes is None:
        return HeldOutPredictions(PredictionTable(source, row, validation, truth, values[0], None), weights, sources)
    probabilities = np.ascontiguousarray(values.T)
    table = PredictionTable(source, row, validation, truth, probabilities.argmax(1), probabilities)
    return HeldOutPredictions(table, weights, sources)


def _averaged(
    tables: Sequence[PredictionTable], members: Sequence[ReportedMember], part: str
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Rows (n,), truth (n,), mean values (outputs, n) and the members' weights (M, n) of one part."""
    classes = tables[0].classes
    mean = WeightedMean(1, np.float64) if classes is None else WeightedMean(len(classes), np.int64)
    parts = [table.only(part) for table in tables]
    for table, member in zip(parts, members, strict=True):
        values = table.prediction[:, None] if table.probabilities is None else table.probabilities
        mean.add(table.row, table.truth, values, member.weight)
    found = mean.rows_of(len(tables) if part == KEPT_PARTS[1] else 1)
    weights = [member.weight * np.isin(found.row, table.row) for table, member in zip(parts, members, strict=True)]
    return found.row, found.truth, found.values.T, np.stack(weights)


def _read(member: ReportedMember) -> PredictionTable:
    check_sha256(member.predictions, PredictionsCorrupt("the file of predictions is missing or has changed"))
    return prediction_table.read(member.predictions.path)
