"""When to stop and what counts as better."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.spec.base import Float, Int, Strict


class Monitor(StrEnum):
    """A number of the history that can decide which epoch is best."""

    val_loss = "val_loss"
    val_accuracy = "val_accuracy"
    val_f1_macro = "val_f1_macro"
    val_roc_auc = "val_roc_auc"
    val_log_loss = "val_log_loss"
    val_mae = "val_mae"
    val_rmse = "val_rmse"
    val_r2 = "val_r2"
    train_loss = "train_loss"

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of this metric is the better one."""
        return self in LARGER_IS_BETTER


CLASSIFICATION = frozenset({Monitor.val_accuracy, Monitor.val_f1_macro, Monitor.val_roc_auc, Monitor.val_log_loss})
REGRESSION = frozenset({Monitor.val_mae, Monitor.val_rmse, Monitor.val_r2})
LARGER_IS_BETTER = frozenset({Monitor.val_accuracy, Monitor.val_f1_macro, Monitor.val_roc_auc, Monitor.val_r2})


class EarlyStopping(Strict):
    """Stop when the monitored value has not improved for `patience` epochs."""

    patience: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    """Epochs without an improvement larger than `min_delta` after which training stops."""
    monitor: Monitor = Monitor.val_loss
    """The number that decides which epoch is best."""
    min_delta: Annotated[Float, Field(ge=0.0, le=1e12)] = 0.0
    """An improvement must exceed this to reset the patience; the best weights follow any improvement."""
    min_delta_mode: Literal["absolute", "relative"] = "absolute"
    """`relative`: `min_delta` is a share of the best value's magnitude."""
    min_epochs: Annotated[Int, Field(ge=0, le=1_000_000)] = 0
    """Never stop early before this epoch; the best epoch is tracked all the same."""
    target: Float | None = None
    """Stop as soon as the monitored value is at least this good."""
    on_non_finite: Literal["stop", "fail", "ignore"] = "stop"
    """A loss that is NaN or infinite ends the job, fails it, or counts as no improvement."""
