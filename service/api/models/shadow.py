"""Shadow predictions: another version predicts the same rows, and differences are counted; the answer is not its."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from service.errors import ServiceError
from service.spec.documented import Documented
from service.spec.table import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.api.context import RequestContext
    from service.domain.model_ref import ModelRef
    from service.domain.prediction import PredictedRows, PredictionOptions

TOLERANCE = 1e-9
"""By less of itself a number is not different: rounding."""
MAX_CHANGES = 100
OTHER_KIND = "it predicts classes and the other version numbers, or the reverse"


class ChangedClass(Documented):
    """Rows whose class the shadow predicts differently."""

    answered: Value
    """The class in the answer."""
    shadow: Value
    """The class that the shadow predicts."""
    rows: int
    """Number of rows."""


class ShadowPredictions(Documented):
    """How another version predicts the same rows."""

    alias: str
    """The alias asked for."""
    version: int | None
    """The version that it points to; null if there is none."""
    rows: int
    """Rows that both have predicted; 0 after an error."""
    different: int
    """Rows with another class, or a number that differs by more than rounding."""
    mean_absolute_difference: float | None = None
    """Of numbers; null for classes, and where a prediction or a difference is beyond the range of float64."""
    changed: list[ChangedClass] = []
    """The most frequent changes of classes, 100 at most; empty for numbers."""
    error: str | None = None
    """Why the shadow has predicted nothing; the answer does not depend on it."""


def shadow_predictions(
    context: RequestContext,
    find: Callable[[], tuple[ModelRef, int]],
    alias: str,
    rows: list[dict[str, Any]],
    options: PredictionOptions,
    answered: PredictedRows,
) -> dict[str, Any]:
    """What the shadow says about the rows, as JSON; `find`: its model and version. Errors become a part of it."""
    version, metrics = None, context.state.metrics
    try:
        model, version = find()
        found = _compared(answered.answers, context.state.predictor.predict(model, rows, options).answers)
    except ServiceError as error:
        found = {"rows": 0, "different": 0, "error": error.detail}
    if found.get("error") is not None:
        metrics.shadow_failures.inc()
    metrics.shadow_rows.inc(found["rows"])
    metrics.shadow_different.inc(found["different"])
    return ShadowPredictions(alias=alias, version=version, **found).model_dump()


def _compared(answered: Sequence[dict[str, Any]], shadow: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The fields of ShadowPredictions that come from comparing the predictions."""
    pairs = [(one["prediction"], other["prediction"]) for one, other in zip(answered, shadow, strict=True)]
    if ("probabilities" in answered[0]) != ("probabilities" in shadow[0]):
        return {"rows": 0, "different": 0, "error": OTHER_KIND}
    if "probabilities" in answered[0]:
        names = {repr(value): value for pair in pairs for value in pair}  # 1 and true are equal
        changes = Counter((repr(one), repr(other)) for one, other in pairs if repr(one) != repr(other))
        changed = [
            ChangedClass(answered=names[one], shadow=names[other], rows=rows)
            for (one, other), rows in changes.most_common(MAX_CHANGES)
        ]
        return {"rows": len(pairs), "different": changes.total(), "changed": changed}
    different = sum(not _same(*pair) for pair in pairs)
    distances = [None if None in pair else abs(pair[0] - pair[1]) for pair in pairs]
    known = [distance for distance in distances if distance is not None]
    mean = sum(distance / len(known) for distance in known) if len(known) == len(distances) else math.inf
    return {
        "rows": len(pairs),
        "different": different,
        "mean_absolute_difference": mean if math.isfinite(mean) else None,
    }


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))
