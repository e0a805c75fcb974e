"""Early stopping as a value: which epoch is best, how long ago progress was made, whether to stop. Pure Python.

Two questions are kept apart. The best weights follow any strict improvement. Patience starts anew only when the value
has improved by more than `min_delta` over what it was when patience last started anew, so that slow progress that adds
up counts, as in Keras and Lightning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

from service.lifecycle import StopReason
from service.spec.early_stopping import EarlyStopping, Monitor


@dataclass(frozen=True)
class Decision:
    """What one epoch's value means."""

    improved: bool  # by more than min_delta: patience starts anew
    is_best: bool  # the best value so far: its weights are to be kept
    wait: int  # epochs since patience last started anew
    stop: StopReason | None
    reason: str  # for people


@dataclass(frozen=True)
class Tracker:
    """What is known after some epochs; `update` gives the next one. Without a `rule` it never stops."""

    monitor: Monitor
    rule: EarlyStopping | None
    best_epoch: int = 0  # 0: no epoch yet had a finite value
    best_value: float | None = None
    anchor_epoch: int = 0  # when patience last started anew
    anchor_value: float | None = None

    def update(self, epoch: int, value: float | None) -> tuple[Tracker, Decision]:
        """The state and the decision after `epoch`, counted from 1; `value`: the monitored one, None if undefined."""
        if value is not None and not isfinite(value):
            value = None
        is_best = value is not None and self._gain(value, self.best_value) > 0
        improved = value is not None and self._gain(value, self.anchor_value) > self._min_delta()
        after = self
        if is_best:
            after = replace(after, best_epoch=epoch, best_value=value)
        if improved:
            after = replace(after, anchor_epoch=epoch, anchor_value=value)
        wait = epoch - after.anchor_epoch
        stop = after._verdict(epoch, value, wait)
        return after, Decision(improved, is_best, wait, stop, after._reason(value, is_best, wait, stop))

    def _gain(self, value: float, over: float | None) -> float:
        if over is None:
            return inf
        return value - over if self.monitor.larger_is_better else over - value

    def _min_delta(self) -> float:
        if self.rule is None or self.anchor_value is None:
            return 0.0
        scale = abs(self.anchor_value) if self.rule.min_delta_mode == "relative" else 1.0
        return self.rule.min_delta * scale

    def _verdict(self, epoch: int, value: float | None, wait: int) -> StopReason | None:
        """Derived anew each epoch, never latched: a wait that ended before `min_epochs` was over is forgotten."""
        if self.rule is None or epoch < self.rule.min_epochs:
            return None
        target = self.rule.target
        if target is not None and value is not None and self._gain(value, target) >= 0:
            return StopReason.target_reached
        return StopReason.early_stopped if wait >= self.rule.patience else None

    def _reason(self, value: float | None, is_best: bool, wait: int, stop: StopReason | None) -> str:
        name = self.monitor.value
        patience = f" of {self.rule.patience}" if self.rule else ""
        best = "no best yet" if self.best_value is None else f"best {self.best_value:.4g} at epoch {self.best_epoch}"
        if stop is StopReason.target_reached and self.rule is not None:
            return f"{name} {value:.4g} reached the target {self.rule.target:.4g}"
        if stop is StopReason.early_stopped:
            return f"patience{patience} ran out ({best})"
        if value is None:
            return f"{name} is not finite ({best})"
        if not is_best:
            return f"no improvement for {_epochs(wait, patience)} ({best})"
        if wait:
            return (
                f"{name} {value:.4g} is the best so far, but min_delta was not exceeded for {_epochs(wait, patience)}"
            )
        return f"{name} {value:.4g} is the best so far"


def _epochs(wait: int, patience: str) -> str:
    return f"{wait}{patience} epoch{'s' if patience or wait != 1 else ''}"
