"""A model to be exported: converts it to a standalone module, and checks that an export predicts as the service."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.preprocess.sources import table_from_rows
from service.errors import Conflict
from service.reports.temperature import apply_temperature
from service.serving.exports.standalone import Standalone
from service.serving.weighted_model import WeightedModel
from service.spec.read_options import DEFAULT_NULL_VALUES
from service.training.inference import InferenceModel
from service.training.models import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from service.data.preprocess.features import FittedFeature
    from service.data.preprocess.preprocessing import Preprocessing, Table
    from service.training.checkpoint import LoadedCheckpoint

Rows = list[dict[str, Any]]
TOLERANCE = 1e-5
"""Largest difference between the predictions of export and service: probabilities, or target / standard deviation."""
SMALLEST = 1e-300
"""Of numbers whose logarithm is taken."""


@dataclass(frozen=True)
class TrainedModel:
    """The checkpoints of a model, their weights in the average, which sum to 1, and the temperature.

    Raises Conflict for checkpoints that do not fit together, as WeightedModel does.
    """

    checkpoints: Sequence[LoadedCheckpoint]
    weights: Sequence[float] = (1.0,)
    temperature: float = 1.0
    """Of its probabilities; see `apply_temperature`."""

    @classmethod
    def weighted(
        cls, checkpoints: Sequence[LoadedCheckpoint], weights: Sequence[float], temperature: float = 1.0
    ) -> TrainedModel:
        """The model of these weights, which need not sum to 1."""
        return cls(checkpoints, [weight / sum(weights) for weight in weights], temperature)

    @cached_property
    def members(self) -> list[InferenceModel]:
        """The networks as the service predicts with them."""
        return list(map(InferenceModel, self.checkpoints))

    @cached_property
    def service(self) -> WeightedModel:
        """The model as the service predicts with it."""
        return WeightedModel(self.members, self.weights)

    def predicted(self, table: Table) -> NDArray[np.float64]:
        """Predictions of the service: (rows, classes) probabilities or (rows,) numbers."""
        if self.preprocessing.target.classes is None:
            return self.service.numbers(table)
        return apply_temperature(self.service.shares(table).numpy(), self.temperature)

    @property
    def preprocessing(self) -> Preprocessing:
        """How rows are read: the columns of all members."""
        return self.service.preprocessing

    @cached_property
    def description(self) -> dict[str, Any]:
        """The model without its weights, as JSON; of one network, or of `members`."""
        fitted = self.preprocessing
        common = {
            "target": fitted.target.model_dump(mode="json"),
            "null_values": sorted(fitted.null_values or DEFAULT_NULL_VALUES),
            "date_format": fitted.date_format,
            **({} if self.temperature == 1.0 else {"temperature": self.temperature}),
        }
        if len(self.checkpoints) == 1:
            return {**_described(self.checkpoints[0]), **common}
        weighted = zip(self.weights, self.checkpoints, strict=True)
        members = [{"weight": weight, **_described(checkpoint)} for weight, checkpoint in weighted]
        return {"features": [self._column(feature) for feature in fitted.features], **common, "members": members}

    def _column(self, feature: FittedFeature) -> dict[str, Any]:
        """A column of all members: its name, its type, and every text that a member knows."""
        column = {"column": feature.column, "type": feature.type.value, "categories": None, "origin": feature.origin}
        if feature.categories is None:
            return column
        features = (each for checkpoint in self.checkpoints for each in checkpoint.preprocessing.features)
        known = (text for each in features if each.column == feature.column for text in each.categories or ())
        return {**column, "categories": list(dict.fromkeys(known))}

    def standalone(self) -> Standalone:
        """The model as one torch module, built from its description, in evaluation mode."""
        model = Standalone(self.description)
        model.load_weights([checkpoint.network.state_dict() for checkpoint in self.checkpoints])
        return model.eval()


def _described(checkpoint: LoadedCheckpoint) -> dict[str, Any]:
    """A network with its preprocessing."""
    fitted = checkpoint.preprocessing
    return {
        "features": [feature.model_dump(mode="json") for feature in fitted.features],
        "target": fitted.target.model_dump(mode="json"),
        "layers": describe(checkpoint.graph),
    }


def check(model: TrainedModel, answer: Callable[[Rows], Any], rows: Rows, what: str) -> None:
    """Raises Conflict unless `answer` predicts the same as the service for `rows`, one by one and as a batch.

    Adds a row without any value, and one with unseen categories.
    """
    unseen = {f.column: "\N{SNOWMAN}" for f in model.preprocessing.features if f.categories is not None}
    rows = [*rows, {}, unseen]
    table = table_from_rows(rows, model.preprocessing)
    expected = model.predicted(table)
    unit = _unit(model, table) if expected.ndim == 1 else 1.0
    together, alone = np.asarray(answer(rows)), np.concatenate([np.asarray(answer([row])) for row in rows])
    for found in (together, alone):
        fits = found.shape == expected.shape
        # Extreme inputs can give extreme predictions, where float rounding exceeds the absolute tolerance.
        if not fits or not np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * unit, equal_nan=True).all():
            apart = np.abs(found - expected) / unit if fits else np.zeros(0)
            worst = f"by {apart[np.isfinite(apart)].max(initial=0.0):.3g}" if fits else "in shape"
            raise Conflict(
                f"the {what} of this model cannot be exported: its predictions differ {worst} from the service's"
            )


def _unit(model: TrainedModel, table: Table) -> NDArray[np.float64]:
    """(rows,) the change of the prediction when the outputs of all networks change by 1.

    With the link `log` it depends on the row: exp turns absolute differences into relative ones, and a float32 differs
    in proportion to its size.
    """
    total = np.full(table.rows, SMALLEST)
    for weight, member, checkpoint in zip(model.weights, model.members, model.checkpoints, strict=True):
        target = checkpoint.preprocessing.target
        if target.link == "identity":
            total += weight * target.scale
            continue
        values = member.numbers(table)
        total += weight * values * (1 + np.abs(np.log(np.maximum(values / target.scale, SMALLEST))))
    return total
