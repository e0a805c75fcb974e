"""What predictions are judged by: the loss that the members were trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.reports.regression_losses import SQUARED, RegressionLoss
from service.spec.loss import AbsoluteError, Huber, Loss, Poisson, QuantileLoss


def regression_loss(losses: Sequence[Loss | None], scale: Callable[[], float]) -> RegressionLoss:
    """What all members were trained for; squared errors if they differ, or if that is not known any more.

    `scale`: the standardized target's unit, of the first member.
    """
    match losses[0] if all(loss == losses[0] for loss in losses) else None:
        case AbsoluteError():
            return RegressionLoss("mae")
        case QuantileLoss(q=q):
            return RegressionLoss("pinball", q)
        case Huber(delta=delta):
            return RegressionLoss("huber", delta * scale())
        case Poisson():
            return RegressionLoss("poisson_deviance")
        case _:
            return SQUARED
