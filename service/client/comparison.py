"""A published version compared with one network, on rows that neither was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from service.client.predictions import held_out_rows
from service.reports.sections.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from service.client.predictions import Row
    from service.client.transport import Transport

Part = Literal["validation", "test"]

PARTS: tuple[Part, ...] = ("test", "validation")
MAX_ROWS = 100_000  # predictions that are read of each network
FLOOR = 2.0**-23  # of probabilities in a log loss, as in reports
NORMAL_95 = 1.96  # standard errors on either side of a 95% interval


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows, by raw predictions."""

    part: Part
    """`test` where both have test rows, else validation rows: these also chose the best epochs of both."""
    rows: int
    """Number of rows."""
    loss: Literal["log_loss", "rmse"]
    """What is compared: log loss of classes, RMSE of numbers."""
    value: float
    """Of the version."""
    other: float
    """Of the other model."""
    difference: Estimate
    """The other's loss minus the version's, with a 95% interval for these rows (paired): above 0 the version is
    better."""


def compare(transport: Transport, members: Mapping[str, float], other: str) -> Comparison | None:
    """A weighted average of jobs, by their paths, compared with another job; None if they share no held-out rows.

    On the other job's test rows that are test rows of all members, else on its validation rows: each is predicted by
    the members that validated it too. Raises ApiError where predictions were not kept.
    """
    for part in PARTS:
        found = _compare(transport, members, other, part)
        if found is not None:
            return found
    return None


def _compare(transport: Transport, members: Mapping[str, float], other: str, part: Part) -> Comparison | None:
    read = held_out_rows(transport, other, part, MAX_ROWS)
    theirs = {row["row"]: (row, value) for row in read if (value := _value(row)) is not None}
    sums, weights, counts = dict[int, float](), dict[int, float](), dict[int, int]()
    for path, weight in members.items() if theirs else ():
        for row in held_out_rows(transport, path, part, MAX_ROWS):
            number, value = row["row"], _value(row)
            if number in theirs and value is not None:
                sums[number] = sums.get(number, 0.0) + weight * value
                weights[number] = weights.get(number, 0.0) + weight
                counts[number] = counts.get(number, 0) + 1
    least = len(members) if part == "test" else 1
    shared = [number for number, count in counts.items() if count >= least]
    if len(shared) < 2:
        return None
    pairs = [(sums[number] / weights[number], *theirs[number]) for number in shared]
    if "probabilities" in pairs[0][1]:
        return _compared(part, "log_loss", [(_log_loss(own), _log_loss(value)) for own, _, value in pairs])
    squares = [((own - row["truth"]) ** 2, (value - row["truth"]) ** 2) for own, row, value in pairs]
    return _compared(part, "rmse", squares)


def _value(row: Row) -> float | None:
    """The probability of the true class, or the predicted number; None if it is not finite."""
    if "probabilities" not in row:
        value: float | None = row["prediction"]
        return value
    shares: dict[str, float | None] = row["probabilities"]
    return shares.get(_class_name(row["truth"]))


def _class_name(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _log_loss(probability: float) -> float:
    return -log(min(max(probability, FLOOR), 1.0 - FLOOR))


def _compared(part: Part, loss: Literal["log_loss", "rmse"], losses: Sequence[tuple[float, float]]) -> Comparison:
    """`losses`: of each row, the version's and the other's; squared errors for RMSE."""
    own, other = (fmean(each) for each in zip(*losses, strict=True))
    if loss == "log_loss":
        differences = [theirs - ours for ours, theirs in losses]
    else:  # the delta method: how much a row moves the difference of the two roots
        own, other = sqrt(own), sqrt(other)
        differences = [_share(theirs, other) - _share(ours, own) for ours, theirs in losses]
    return Comparison(part, len(losses), loss, own, other, _estimate(other - own, differences))


def _share(square: float, root: float) -> float:
    return square / (2 * root) if root else 0.0


def _estimate(value: float, differences: Iterable[float]) -> Estimate:
    each = list(differences)
    error = stdev(each) / sqrt(len(each))
    return Estimate(value=value, low=value - NORMAL_95 * error, high=value + NORMAL_95 * error)
