"""The loss that a regression was trained for, of single rows, as reports measure it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from service.reports.sections.importance import Loss

Array = NDArray[np.float64]
SMALLEST_RATE = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class RegressionLoss:
    """A loss with its parameter, in the target's unit."""

    name: Loss = "rmse"
    parameter: float = 0.0
    """The quantile q of the pinball loss, or delta of the Huber loss."""

    @np.errstate(over="ignore")
    def of_rows(self, truth: Array, prediction: Array) -> Array:
        """(N,) losses, infinite beyond the range of float64; squared errors for `rmse`."""
        errors: Array = truth - prediction
        match self.name:
            case "mae":
                return np.abs(errors)
            case "pinball":
                return np.maximum(self.parameter * errors, (self.parameter - 1.0) * errors)
            case "huber":
                inside: Array = np.minimum(np.abs(errors), self.parameter)
                return inside * (np.abs(errors) - inside / 2.0)
            case "poisson_deviance":
                rate = np.maximum(prediction, SMALLEST_RATE)
                log_ratio = np.log(np.where(truth > 0, truth, 1.0)) - np.log(np.where(truth > 0, rate, 1.0))
                deviance: Array = 2.0 * (truth * log_ratio - truth + rate)
                return deviance
            case _:
                squared: Array = np.square(errors)
                return squared

    @property
    def quantile(self) -> float | None:
        """The quantile that the loss targets; None for the mean, which the Huber loss is nearer to than to the
        median."""
        return {"mae": 0.5, "pinball": self.parameter}.get(self.name)

    def constant(self, truth: Array) -> float:
        """The constant prediction of rows like these (N,)."""
        return float(truth.mean() if self.quantile is None else np.quantile(truth, self.quantile))


SQUARED = RegressionLoss()
