"""Converts a checkpoint to a standalone network, and checks that an export predicts the same as the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.preprocess.sources import table_from_rows
from service.errors import Conflict
from service.serving.exports.standalone import Standalone
from service.spec.read_options import DEFAULT_NULL_VALUES
from service.training.inference import InferenceModel
from service.training.models import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.data.preprocess.preprocessing import FittedTarget
    from service.training.checkpoint import LoadedCheckpoint

Rows = list[dict[str, Any]]
TOLERANCE = 1e-5
"""Largest difference between the predictions of export and service: probabilities, or target / standard deviation."""


def standalone(checkpoint: LoadedCheckpoint) -> Standalone:
    """The network of `checkpoint` as a Standalone, built from a JSON description, in evaluation mode."""
    fitted = checkpoint.preprocessing
    description = {
        "features": [feature.model_dump(mode="json") for feature in fitted.features],
        "target": fitted.target.model_dump(mode="json"),
        "null_values": sorted(fitted.null_values or DEFAULT_NULL_VALUES),
        "layers": describe(checkpoint.graph),
    }
    model = Standalone(description)
    model.network.load_state_dict(checkpoint.network.state_dict(), strict=True)
    return model.eval()


def check(checkpoint: LoadedCheckpoint, answer: Callable[[Rows], Any], rows: Rows, what: str) -> None:
    """Raises Conflict unless `answer` predicts the same as the service for `rows`, one by one and as a batch.

    Adds a row without any value, and one with unseen categories.
    """
    unseen = {f.column: "\N{SNOWMAN}" for f in checkpoint.preprocessing.features if f.categories is not None}
    rows = [*rows, {}, unseen]
    target = checkpoint.preprocessing.target
    expected = _comparable(_answers(checkpoint, rows), target)
    unit = target.scale if expected.ndim == 1 and target.link == "identity" else 1.0
    together, alone = np.asarray(answer(rows)), np.concatenate([np.asarray(answer([row])) for row in rows])
    for found in (_comparable(together, target), _comparable(alone, target)):
        fits = found.shape == expected.shape
        # Extreme inputs can give extreme predictions, where float rounding exceeds the absolute tolerance.
        if not fits or not np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * unit, equal_nan=True).all():
            apart = np.abs(found - expected) / unit if fits else np.zeros(0)
            worst = f"by {apart[np.isfinite(apart)].max(initial=0.0):.3g}" if fits else "in shape"
            raise Conflict(
                f"the {what} of this network cannot be exported: its predictions differ {worst} from the service's"
            )


def _comparable(answers: NDArray[Any], target: FittedTarget) -> NDArray[Any]:
    """The answers; with link `log` the network's outputs, because exp turns absolute differences into relative ones."""
    if target.link == "identity":
        return answers
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(answers / target.scale))


def _answers(checkpoint: LoadedCheckpoint, rows: Rows) -> Any:
    """Predictions of the service: (rows, classes) probabilities or (rows,) numbers, float64."""
    model, table = InferenceModel(checkpoint), table_from_rows(rows, checkpoint.preprocessing)
    if checkpoint.preprocessing.target.classes is None:
        return model.numbers(table)
    return model.shares(table).numpy()
