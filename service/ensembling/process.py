"""Reads files of kept predictions in a child process, to select members or to score an ensemble.

The API imports no NumPy: `select_members` and `score` are its side, `_work` is the child's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, ask_about_stored, respond
from service.errors import InvalidData, PredictionsCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.data.formats.prediction_table import PredictionTable
    from service.ensembling.held_out import HeldOut, WeightedMean


class _Request(BaseModel):
    """The request to the child: to score members with `weights`, or to select among `candidates`."""

    files: list[Path]
    weights: list[float] | None = None
    candidates: list[int] = []
    """For each file, the number of its candidate."""


class Score(BaseModel):
    """Metrics of averaged predictions."""

    rows: int
    """Number of rows."""
    values: dict[str, float | None]
    """The metrics by name."""


class Scores(BaseModel):
    """Metrics of an ensemble on held-out rows; None where there are none."""

    validation: Score | None
    """The rows that a member validated on, each predicted by those members."""
    test: Score | None
    """The rows that are test rows of all members."""


class _Counts(BaseModel):
    """How often each candidate was selected; None if they share no validation rows."""

    counts: list[int] | None


def score(files: Sequence[tuple[Path, float]], allowed: Allowance) -> Scores:
    """Metrics of the weighted mean of these members, given as (file of predictions, weight).

    Raises PredictionsCorrupt if a file cannot be read, ReadingLimit.
    """
    paths, weights = zip(*files, strict=True)
    return Scores.model_validate(_ask(_Request(files=[path.absolute() for path in paths], weights=weights), allowed))


def select_members(candidates: Sequence[Sequence[Path]], allowed: Allowance) -> list[int] | None:
    """How often greedy ensemble selection takes each candidate; None if no row is a validation row of all of them.

    A candidate is the files of its members, such as one a fold, whose predictions of the same row are averaged. Raises
    PredictionsCorrupt if a file cannot be read, ReadingLimit.
    """
    owners = [(path.absolute(), number) for number, files in enumerate(candidates) for path in files]
    request = _Request(files=[path for path, _ in owners], candidates=[number for _, number in owners])
    return _Counts.model_validate(_ask(request, allowed)).counts


def _ask(request: _Request, allowed: Allowance) -> Any:
    return ask_about_stored(
        __name__, request, allowed, lambda why: PredictionsCorrupt(f"the predictions cannot be read: {why}")
    )


def _work(asked: dict[str, Any], _: Allowance) -> BaseModel:
    """In the child: respond to the request."""
    request = _Request.model_validate(asked)
    if request.weights is not None:
        return _score(request.files, request.weights)
    return _select(request.files, request.candidates)


def _score(files: Sequence[Path], weights: Sequence[float]) -> Scores:
    from service.ensembling import metrics

    validation, test = _mean(files[0]), _mean(files[0])
    for path, weight in zip(files, weights, strict=True):
        table = _read(path)
        for part, mean in (("validation", validation), ("test", test)):
            _add(mean, table.only(part), weight)
    measure = metrics.regression if _read(files[0]).classes is None else metrics.classification

    def scored(found: HeldOut) -> Score | None:
        return Score(rows=len(found.row), values=measure(found)) if len(found.row) else None

    return Scores(validation=scored(validation.rows_of()), test=scored(test.rows_of(len(files))))


def _select(files: Sequence[Path], candidates: Sequence[int]) -> _Counts:
    import numpy as np

    from service.ensembling import greedy
    from service.ensembling.held_out import WeightedMean

    means = [WeightedMean(1, np.float64) for _ in range(max(candidates) + 1)]
    classes = _read(files[0]).classes
    for path, candidate in zip(files, candidates, strict=True):
        table = _read(path).only("validation")
        means[candidate].add(table.row, table.truth, _compared(table))
    found = [mean.rows_of() for mean in means]
    shared = found[0].row
    for each in found[1:]:
        shared = np.intersect1d(shared, each.row)
    if not len(shared):
        return _Counts(counts=None)
    values = np.stack([each.values[np.searchsorted(each.row, shared), 0] for each in found]).astype(np.float64)
    truth = found[0].truth[np.searchsorted(found[0].row, shared)]
    loss = greedy.rmse_of(truth) if classes is None else greedy.log_loss
    return _Counts(counts=greedy.select(values, loss).tolist())


def _compared(table: PredictionTable) -> NDArray[Any]:
    """(N, 1) predicted numbers, or probabilities of the true classes: all that the loss depends on."""
    if table.probabilities is None:
        return table.prediction[:, None]
    own: NDArray[Any] = table.probabilities[range(len(table.truth)), table.truth]
    return own[:, None]


def _mean(path: Path) -> WeightedMean:
    """An empty mean for predictions like those of this file."""
    import numpy as np

    from service.ensembling.held_out import WeightedMean

    classes = _read(path).classes
    return WeightedMean(1, np.float64) if classes is None else WeightedMean(len(classes), np.int64)


def _add(mean: WeightedMean, table: PredictionTable, weight: float) -> None:
    values = table.prediction[:, None] if table.probabilities is None else table.probabilities
    mean.add(table.row, table.truth, values, weight)


def _read(path: Path) -> PredictionTable:
    from service.data.formats.prediction_table import read

    try:
        return read(path)
    except PredictionsCorrupt as error:
        raise InvalidData(error.detail) from error


if __name__ == "__main__":
    respond(_work, "service.data.formats.prediction_table", "service.ensembling.metrics")
