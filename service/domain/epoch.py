"""The record of one epoch in a job's training history."""

from __future__ import annotations

from dataclasses import dataclass

from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor


class Epoch(FrozenModel):
    """One epoch of the training history: losses, metrics, and the early-stopping decision."""

    epoch: int
    """Counted from 1."""
    train_loss: float | None
    """Mean loss over the training rows, in training mode, while the weights changed."""
    val_loss: float | None
    """Mean loss over the validation rows with the epoch's final weights; no smoothing, no class weights."""
    metrics: dict[str, float | None]
    """The task's validation metrics; null where undefined."""
    lr: float
    """Learning rate of the epoch; of its last step, where the schedule changes it at every step."""
    seconds: float
    """Wall time of the epoch, training and evaluation."""
    improved: bool
    """The monitored value improved by more than `min_delta`: patience is reset."""
    is_best: bool
    """The monitored value is the best so far: this epoch becomes the best checkpoint."""
    wait: int
    """Epochs since patience was last reset; for other rules, since the best epoch."""
    closeness: float | None
    """How close the stopping rule is to firing, from 0 to 1 and beyond: `wait` over `patience`, GL or PQ over `alpha`,
    successive rises over `s`. Null without a rule, where GL or PQ is undefined, and for PQ within a strip."""
    reason: str
    """The early-stopping decision, as text."""
    non_finite: bool = False
    """A loss was NaN or infinite; it is stored as null."""

    def value(self, monitor: Monitor) -> float | None:
        """The monitored value of this epoch; None if undefined or not finite."""
        if monitor is Monitor.train_loss:
            return self.train_loss
        return self.val_loss if monitor is Monitor.val_loss else self.metrics.get(monitor)

    def measured(self) -> dict[str, float | None]:
        """Losses and metrics together."""
        return {"train_loss": self.train_loss, "val_loss": self.val_loss, **self.metrics}


@dataclass(frozen=True, slots=True)
class EpochValue:
    """What stopping rules read of an epoch; many of them are in memory at once."""

    value: float | None
    """The monitored value."""
    train_loss: float | None
    non_finite: bool
