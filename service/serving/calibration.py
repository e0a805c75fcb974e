"""Calibration of a model by its members' kept predictions of validation rows: temperature and conformal scores.

The predictions of a row are the weighted mean of the members that validated on it: for folds, out-of-fold.
These rows also chose the best epoch, and of a sweep the point and the weights, so coverage is lower than asked for
where they are few: 0.85 for 0.9 with the best of 12 points on 20 rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.formats import prediction_table
from service.domain.prediction import AppliedCalibration, ModelCalibration
from service.domain.report import StoredFile
from service.ensembling.held_out import HeldOut, WeightedMean
from service.errors import Conflict, PredictionsCorrupt
from service.reports import conformal
from service.reports.temperature import MIN_ROWS, fit_temperature
from service.serving.messages import Applied
from service.serving.verified import check_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from service.domain.model_ref import ModelRef
    from service.domain.prediction import PredictionOptions
    from service.reports.sections.calibration import Temperature
    from service.spec.table import Value

SEED = 0
MAX_ROWS = 100_000
"""Of a sample that calibrates: with as many, the coverage has a standard deviation of 0.001."""
MAX_VALUES = 2_000_000
"""Rows times classes of the sample, whose temperature takes some 0.3 s."""
MAX_BYTES = 2**29
"""Size of the predictions that are read, of all members together: some 1.5 s."""
BLOCK_VALUES = 2**22  # of probabilities that are in memory at once: 16 MB
MODELS = 64  # whose calibrations are cached, of 0.8 MB at most
RETRY_SECONDS = 60.0
"""A file that is missing or damaged is read again so much later: it may have been restored."""
DAMAGED = "the file of predictions is missing or has changed"
WHEN_KEPT = ": a job keeps them when it ends, unless it has no validation rows or BESTEPOCH_KEEP leaves them out"


@dataclass(frozen=True)
class Calibration:
    """What N held-out rows say about raw outputs."""

    temperature: Temperature | None
    """Of probabilities; None for regression."""
    scores: NDArray[np.float64]
    """(N,) conformal scores, rising."""

    @property
    def summary(self) -> ModelCalibration:
        """The calibration without its scores."""
        found = self.temperature
        return ModelCalibration(
            temperature=None if found is None else found.temperature,
            rows=len(self.scores) if found is None else found.rows,
            reason=None if found is None else found.reason,
        )

    def quantile(self, level: float) -> float:
        """The conformal quantile; raises Conflict if there are too few rows for the level."""
        rows = len(self.scores)
        place = conformal.quantile_place(rows, level)
        if place > rows:
            needed = ceil(level / (1.0 - level) - 1e-9)
            raise Conflict(f"{rows:,} validation rows are too few for the level {level}: it needs at least {needed:,}")
        found = float(self.scores[place - 1])
        if isinf(found):
            raise Conflict(f"residuals beyond the range of float64 leave no interval for the level {level}")
        return found


def calibrate(
    truth: NDArray[Any], outputs: NDArray[np.float64], complete: NDArray[np.bool_] | None = None
) -> Calibration:
    """The calibration by held-out rows; truth: (N,), outputs: (N, classes) probabilities or (N,) numbers.

    `complete`: (N,) whether the outputs are the mean of all members of the model; None: all are. Rows whose outputs are
    not finite are left out.
    """
    finite = np.isfinite(outputs if outputs.ndim == 1 else outputs.sum(1))
    truth, outputs = truth[finite], outputs[finite]
    if outputs.ndim == 1:
        return Calibration(None, np.sort(conformal.residual_scores(truth, outputs)))
    whole = np.ones(len(truth), bool) if complete is None else complete[finite]
    return Calibration(_temperature(truth, outputs, whole), np.sort(conformal.class_scores(truth, outputs)))


def _temperature(truth: NDArray[Any], outputs: NDArray[np.float64], complete: NDArray[np.bool_]) -> Temperature:
    """Fitted on the rows of all members; if they are too few, on all rows, but only below 1.

    A mean of more members is less sure than these rows show: what makes it even less sure would be too much.
    """
    if complete.all() or np.count_nonzero(complete) >= MIN_ROWS:
        return fit_temperature(outputs[complete], truth[complete])
    found = fit_temperature(outputs, truth)
    if found.temperature <= 1.0:
        return found
    same = {"temperature": 1.0, "calibrated_log_loss": found.log_loss, "reason": "fewer members"}
    return found.model_copy(update=same)


def calibration_of(ref: ModelRef) -> Calibration:
    """The calibration of this model by its members' kept predictions.

    Raises Conflict if there is nothing to calibrate by, PredictionsCorrupt for a file that is missing or damaged.
    """
    now = time.monotonic()
    if _damaged.get(ref, now) > now:
        raise PredictionsCorrupt(DAMAGED)
    for each in [each for each, until in _damaged.items() if until <= now]:
        del _damaged[each]
    try:
        found = _calibration(ref)
    except PredictionsCorrupt:
        _damaged[ref] = now + RETRY_SECONDS
        raise
    if isinstance(found, str):
        raise Conflict(found)
    return found


_damaged: dict[ModelRef, float] = {}
"""Models with a file that is missing or damaged, and the time when it is read again."""


@lru_cache(MODELS)
def _calibration(ref: ModelRef) -> Calibration | str:
    """The calibration of this model, or the reason why there will be none; raises PredictionsCorrupt."""
    try:
        found, classes = _held_out(ref)
    except Conflict as error:
        return error.detail
    outputs = found.values if classes else found.values[:, 0]
    calibration = calibrate(found.truth, outputs, found.members == len(ref.members))
    return calibration if len(calibration.scores) else "the model has no finite predictions of validation rows"


def apply_calibration(ref: ModelRef, options: PredictionOptions, classes: Sequence[Value] | None) -> Applied:
    """What calibrates the predictions of this model; `classes`: None for regression.

    A version has the temperature that was stored when it was published, and needs no file without an interval. Raises
    Conflict for an interval with nothing, or too few rows, to calibrate by, and PredictionsCorrupt. Without an
    interval, the description says why probabilities stay raw.
    """
    level = options.interval
    if level is None and not (options.calibrated and classes):
        return Applied(1.0, None, None)
    try:
        quantile = None if level is None else _quantile(ref, level)
        summary = (ref.calibration or calibration_of(ref).summary).model_dump()
    except (Conflict, PredictionsCorrupt) as error:
        if level is not None:
            raise
        return Applied(1.0, None, AppliedCalibration(temperature=1.0, rows=0, reason=error.detail, level=None))
    if classes and not options.calibrated:
        summary |= {"temperature": 1.0, "reason": "raw probabilities were asked for"}
    return Applied(summary["temperature"] or 1.0, quantile, AppliedCalibration(**summary, level=level))


def _quantile(ref: ModelRef, level: float) -> float:
    if ref.calibration is not None and not ref.calibration.rows:
        raise Conflict(ref.calibration.reason)
    return calibration_of(ref).quantile(level)


def _held_out(ref: ModelRef) -> tuple[HeldOut, int]:
    """The averaged predictions of a sample of validation rows, and the number of classes, 0 for regression."""
    paths = _verified(ref)
    classes = len(prediction_table.read(paths[0], limit=0).classes or ())
    rows = _sample(paths, min(MAX_ROWS, MAX_VALUES // max(1, classes)))
    mean = WeightedMean(classes or 1, np.int64 if classes else np.float64)
    for path, member in zip(paths, ref.members, strict=True):
        if prediction_table.read(path, limit=0).source.sha256 != member.sha256:
            raise Conflict("the predictions that were kept are those of other weights")
        row, truth, values = map(np.concatenate, zip(*_chosen(path, rows, max(1, classes)), strict=True))
        mean.add(row, truth, values, member.weight)
    return mean.rows_of(), classes


def _chosen(path: Path, rows: NDArray[np.int64], width: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Row numbers (n,), truth (n,) and values (n, width) of a member's validation rows among `rows`, in blocks."""
    size = max(1, BLOCK_VALUES // width)
    for offset in range(0, max(1, len(prediction_table.read_row_numbers(path, "validation"))), size):
        table = prediction_table.read(path, "validation", offset, size)
        chosen = np.isin(table.row, rows)
        values = table.prediction[:, None] if table.probabilities is None else table.probabilities
        yield table.row[chosen], table.truth[chosen], values[chosen]


def _verified(ref: ModelRef) -> list[Path]:
    """The files of all members' predictions, whose SHA-256 are verified."""
    kept = [StoredFile(Path(each.predictions[0]), each.predictions[1]) for each in ref.members if each.predictions]
    if len(kept) < len(ref.members):
        whose = "a job of the model" if len(ref.members) > 1 else "the job"
        raise Conflict(f"{whose} has kept no predictions of validation rows{WHEN_KEPT}")
    if len({each.data for each in ref.members}) > 1:
        raise Conflict("the members were trained on different data")
    damaged = PredictionsCorrupt(DAMAGED)
    try:
        size = sum(each.path.stat().st_size for each in kept)
    except OSError as error:
        raise damaged from error
    if size > MAX_BYTES:
        raise Conflict(f"the kept predictions have {size:,} bytes; up to {MAX_BYTES:,} are read to calibrate")
    for each in kept:
        check_sha256(each, damaged)
    return [each.path for each in kept]


def _sample(paths: list[Path], most: int) -> NDArray[np.int64]:
    """At most so many of the rows that a member validated on, drawn at random."""
    rows = np.unique(np.concatenate([prediction_table.read_row_numbers(path, "validation") for path in paths]))
    return rows if len(rows) <= most else np.random.default_rng(SEED).choice(rows, most, replace=False)
