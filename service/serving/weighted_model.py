"""The model that answers: the weighted average of the predictions of one checkpoint or several."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from service.errors import Conflict
from service.spec.column_reading import difference, union

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from service.data.preprocess.preprocessing import Preprocessing, Table
    from service.training.inference import InferenceModel

    T = TypeVar("T", Tensor, NDArray[np.float64])


class WeightedModel:
    """Averages probabilities, or numbers in the target's unit, in float64; with one member, exactly what it predicts.

    Raises Conflict for members that differ in target or classes, or that read a column differently.
    """

    def __init__(self, members: Sequence[InferenceModel], weights: Sequence[float]) -> None:
        self._members = members
        self._weights = [weight / sum(weights) for weight in weights]
        self.preprocessing = reduce(_merged, (member.preprocessing for member in members))
        """How rows are read: the features of all members."""

    def shares(self, table: Table) -> Tensor:
        """(rows, classes) float64: the probability of each class."""
        return self._mean(lambda member: member.shares(table))

    def numbers(self, table: Table) -> NDArray[np.float64]:
        """(rows,) predictions in the target's unit; not finite beyond float64."""
        return self._mean(lambda member: member.numbers(table))

    def _mean(self, predicted: Callable[[InferenceModel], T]) -> T:
        weighted = zip(self._weights, self._members, strict=True)
        terms: list[Any] = [weight * predicted(member) for weight, member in weighted]
        mean: T = reduce(add, terms)  # not from 0: 0 + -0.0 is 0.0
        return mean


def _merged(one: Preprocessing, other: Preprocessing) -> Preprocessing:
    """The first, with the features that only the other has."""
    if (one.target.column, one.target.classes) != (other.target.column, other.target.classes):
        raise Conflict(f"the members of a model differ in their target: {_target(one)} and {_target(other)}")
    if differing := difference(one, other):
        raise Conflict(f"a member of the model reads {differing} than the members before it")
    return one.model_copy(update={"features": union(one.features, other.features)})


def _target(preprocessing: Preprocessing) -> str:
    target = preprocessing.target
    return f"{target.column!r}, " + ("a number" if target.classes is None else f"{len(target.classes)} classes")
