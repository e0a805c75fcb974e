"""Early stopping as an immutable value: the best epoch, patience, and the decision to stop. Pure Python.

The best checkpoint and the stop are separate decisions. Any strict improvement makes a new best epoch, whatever the
rule. Patience is reset only when the value has improved by more than `min_delta` since its last reset, so that slow
progress accumulates, as in Keras and Lightning. GL, PQ and UP are the rules of Prechelt, "Early Stopping - But When?"
(1998).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, isfinite

from service.domain.epoch import Epoch
from service.domain.status import StopReason
from service.spec.early_stopping import (
    EarlyStopping,
    GeneralizationLoss,
    Monitor,
    Patience,
    ProgressQuotient,
    SuccessiveRises,
)


@dataclass(frozen=True)
class Decision:
    """The decision after one epoch."""

    improved: bool  # by more than min_delta: patience is reset
    is_best: bool  # the best value so far: keep these weights
    wait: int  # epochs since patience was last reset
    closeness: float | None  # the rule's criterion over its threshold; None if undefined
    stop: StopReason | None
    reason: str  # as text


@dataclass(frozen=True)
class Criterion:
    """The rule's criterion after an epoch."""

    fires: bool = False
    closeness: float | None = None  # the criterion over its threshold
    note: str = ""  # the criterion as text


@dataclass(frozen=True)
class Tracker:
    """State after some epochs; `update` returns the next one. Without a `rule` it never stops."""

    monitor: Monitor
    rule: EarlyStopping | None
    best_epoch: int = 0  # 0: no finite value yet
    best_value: float | None = None
    anchor_epoch: int = 0  # when patience was last reset
    anchor_value: float | None = None
    strip: tuple[float | None, ...] = ()  # PQ: training losses of the current strip
    strip_end: float | None = None  # UP: the value at the end of the last strip
    rises: int = 0  # UP: successive strips that ended higher than the one before

    def update(self, epoch: int, value: float | None, train_loss: float | None) -> tuple[Tracker, Decision]:
        """The state and the decision after `epoch`, counted from 1; `value`: the monitored one, None if undefined."""
        value = _finite(value)
        is_best = value is not None and self._gain(value, self.best_value) > 0
        improved = value is not None and self._gain(value, self.anchor_value) > self._min_delta()
        after = self._with_strip(epoch, value, _finite(train_loss))
        if is_best:
            after = replace(after, best_epoch=epoch, best_value=value)
        if improved:
            after = replace(after, anchor_epoch=epoch, anchor_value=value)
        wait = epoch - after.anchor_epoch
        criterion = after._criterion(epoch, value, wait)
        stop = after._stop(epoch, value, criterion)
        reason = after._reason(value, is_best, wait, criterion, stop)
        return after, Decision(improved, is_best, wait, criterion.closeness, stop, reason)

    def _gain(self, value: float, over: float | None) -> float:
        if over is None:
            return inf
        return value - over if self.monitor.larger_is_better else over - value

    def _min_delta(self) -> float:
        if not isinstance(self.rule, Patience) or self.anchor_value is None:
            return 0.0
        scale = abs(self.anchor_value) if self.rule.min_delta_mode == "relative" else 1.0
        return self.rule.min_delta * scale

    def _with_strip(self, epoch: int, value: float | None, train_loss: float | None) -> Tracker:
        if isinstance(self.rule, ProgressQuotient):
            begun = self.strip if (epoch - 1) % self.rule.k else ()
            return replace(self, strip=(*begun, train_loss))
        if isinstance(self.rule, SuccessiveRises) and epoch % self.rule.k == 0:
            # A non-finite value counts as a rise.
            rose = value is None or (self.strip_end is not None and value > self.strip_end)
            rises = self.rises + 1 if rose and epoch > self.rule.k else 0
            return replace(self, strip_end=value, rises=rises)
        return self

    def _criterion(self, epoch: int, value: float | None, wait: int) -> Criterion:
        match self.rule:
            case Patience(patience=patience):
                return Criterion(wait >= patience, wait / patience)
            case GeneralizationLoss(alpha=alpha):
                loss = self._generalization_loss(value)
                if loss is None:
                    return _undefined("GL", value)
                return Criterion(loss > alpha, _finite(loss / alpha), _comparison("GL", loss, alpha))
            case ProgressQuotient(k=k) if epoch % k == 0:
                return self._quotient(self.rule, value)
            case SuccessiveRises(s=s, k=k):
                ended = epoch % k == 0
                note = f"{self.rises} of {s} strips of {k} epochs rose in a row" if ended else ""
                return Criterion(ended and self.rises >= s, self.rises / s, note)
            case _:
                return Criterion()

    def _generalization_loss(self, value: float | None) -> float | None:
        """GL in percent; None if the ratio is undefined."""
        if value is None or self.best_value is None or self.best_value <= 0:
            return None
        return 100 * (value / self.best_value - 1)

    def _quotient(self, rule: ProgressQuotient, value: float | None) -> Criterion:
        loss = self._generalization_loss(value)
        if loss is None:
            return _undefined("PQ", value)
        losses = [train_loss for train_loss in self.strip if train_loss is not None and train_loss > 0]
        if len(losses) < rule.k:
            return Criterion(note=f"PQ is undefined as not every train_loss of these {rule.k} epochs is above 0")
        progress = max(0.0, 1000 * (sum(losses) / (rule.k * min(losses)) - 1))
        # Not as a quotient: without training progress, any generalization loss exceeds the threshold.
        fires = loss > rule.alpha * progress
        if progress == 0:
            return Criterion(fires, None if fires else 0.0, f"GL {loss:.4g} and no progress in training")
        quotient = loss / progress
        return Criterion(fires, _finite(quotient / rule.alpha), _comparison("PQ", quotient, rule.alpha))

    def _stop(self, epoch: int, value: float | None, criterion: Criterion) -> StopReason | None:
        """Computed for each epoch, never latched: a rule that fires before `min_epochs` has no effect."""
        if self.rule is None or epoch < self.rule.min_epochs:
            return None
        target = self.rule.target
        if target is not None and value is not None and self._gain(value, target) >= 0:
            return StopReason.target_reached
        return StopReason.early_stopped if criterion.fires else None

    def _reason(
        self, value: float | None, is_best: bool, wait: int, criterion: Criterion, stop: StopReason | None
    ) -> str:
        name = self.monitor.value
        patience = f" of {self.rule.patience}" if isinstance(self.rule, Patience) else ""
        note = f", {criterion.note}" if criterion.note else ""
        best = "no best yet" if self.best_value is None else f"best {self.best_value:.4g} at epoch {self.best_epoch}"
        if stop is StopReason.target_reached and self.rule is not None:
            return f"{name} {value:.4g} reached the target {self.rule.target:.4g}"
        if stop is StopReason.early_stopped:
            return f"{criterion.note or f'patience{patience} ran out'} ({best})"
        if value is None:
            return f"{name} is not finite{note} ({best})"
        if not is_best:
            return f"no improvement for {_epochs(wait, patience)}{note} ({best})"
        if wait:
            return (
                f"{name} {value:.4g} is the best so far, but min_delta was not exceeded for {_epochs(wait, patience)}"
            )
        undecided = note if criterion.closeness is None else ""
        return f"{name} {value:.4g} is the best so far{undecided}"


def tracker_after(
    monitor: Monitor, rule: EarlyStopping | None, rows: Iterable[Epoch]
) -> tuple[Tracker, Decision | None]:
    """The tracker after a recorded history from epoch 1 on, and its last decision."""
    tracker, decision = Tracker(monitor, rule), None
    for row in rows:
        tracker, decision = tracker.update(row.epoch, row.value(monitor), row.train_loss)
    return tracker, decision


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _undefined(name: str, value: float | None) -> Criterion:
    return Criterion(note="" if value is None else f"{name} is undefined as the best value is not above 0")


def _comparison(name: str, criterion: float, alpha: float) -> str:
    return f"{name} {criterion:.4g} {'exceeds' if criterion > alpha else 'of'} {alpha:.4g}"


def _epochs(wait: int, patience: str) -> str:
    return f"{wait}{patience} epoch{'s' if patience or wait != 1 else ''}"
