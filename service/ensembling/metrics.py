"""Metrics of averaged predictions, by the names that the engine's metrics have, with the values of scikit-learn."""

from __future__ import annotations

from math import isfinite

import numpy as np

from service.ensembling.greedy import log_loss
from service.ensembling.held_out import HeldOut


def classification(found: HeldOut) -> dict[str, float | None]:
    """accuracy and log_loss; there is at least one row."""
    own = found.values[np.arange(len(found.truth)), found.truth]
    return {"accuracy": float((found.values.argmax(1) == found.truth).mean()), "log_loss": log_loss(own)}


def regression(found: HeldOut) -> dict[str, float | None]:
    """mae, rmse and r2, which is undefined where all true values are equal; there is at least one row."""
    error, spread = found.values[:, 0] - found.truth, np.square(found.truth - found.truth.mean()).sum()
    values = {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(1.0 - np.square(error).sum() / spread) if spread > 0 else np.nan,
    }
    return {name: value if isfinite(value) else None for name, value in values.items()}
