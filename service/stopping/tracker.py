"""Early stopping as a value: which epoch is best, how long ago progress was made, whether to stop. Pure Python.

Two questions are kept apart. The best weights follow any strict improvement, whatever the rule. When to stop is the
rule's: patience starts anew only when the value has improved by more than `min_delta` over what it was when patience
last started anew, so that slow progress that adds up counts, as in Keras and Lightning; GL, PQ and UP are those of
Prechelt, "Early Stopping - But When?" (1998).
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
    """What one epoch's value means."""

    improved: bool  # by more than min_delta: patience starts anew
    is_best: bool  # the best value so far: its weights are to be kept
    wait: int  # epochs since patience last started anew
    closeness: float | None  # the rule's measure over its threshold; None where it has none
    stop: StopReason | None
    reason: str  # for people


@dataclass(frozen=True)
class Measure:
    """How the rule stands after an epoch."""

    fires: bool = False
    closeness: float | None = None  # the measure over its threshold
    note: str = ""  # the measure in words


@dataclass(frozen=True)
class Tracker:
    """What is known after some epochs; `update` gives the next one. Without a `rule` it never stops."""

    monitor: Monitor
    rule: EarlyStopping | None
    best_epoch: int = 0  # 0: no epoch yet had a finite value
    best_value: float | None = None
    anchor_epoch: int = 0  # when patience last started anew
    anchor_value: float | None = None
    strip: tuple[float | None, ...] = ()  # PQ: the training losses of the strip under way
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
        measure = after._measure(epoch, value, wait)
        stop = after._verdict(epoch, value, measure)
        reason = after._reason(value, is_best, wait, measure, stop)
        return after, Decision(improved, is_best, wait, measure.closeness, stop, reason)

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
            # A value that is not finite never improves anything: it is above any other.
            rose = value is None or (self.strip_end is not None and value > self.strip_end)
            rises = self.rises + 1 if rose and epoch > self.rule.k else 0
            return replace(self, strip_end=value, rises=rises)
        return self

    def _measure(self, epoch: int, value: float | None, wait: int) -> Measure:
        match self.rule:
            case Patience(patience=patience):
                return Measure(wait >= patience, wait / patience)
            case GeneralizationLoss(alpha=alpha):
                loss = self._generalization_loss(value)
                if loss is None:
                    return _undefined("GL", value)
                return Measure(loss > alpha, _finite(loss / alpha), _against("GL", loss, alpha))
            case ProgressQuotient(k=k) if epoch % k == 0:
                return self._quotient(self.rule, value)
            case SuccessiveRises(s=s, k=k):
                ended = epoch % k == 0
                note = f"{self.rises} of {s} strips of {k} epochs rose in a row" if ended else ""
                return Measure(ended and self.rises >= s, self.rises / s, note)
            case _:
                return Measure()

    def _generalization_loss(self, value: float | None) -> float | None:
        """GL in percent; None where the ratio means nothing."""
        if value is None or self.best_value is None or self.best_value <= 0:
            return None
        return 100 * (value / self.best_value - 1)

    def _quotient(self, rule: ProgressQuotient, value: float | None) -> Measure:
        loss = self._generalization_loss(value)
        if loss is None:
            return _undefined("PQ", value)
        losses = [train_loss for train_loss in self.strip if train_loss is not None and train_loss > 0]
        if len(losses) < rule.k:
            return Measure(note=f"PQ is undefined as not every train_loss of these {rule.k} epochs is above 0")
        progress = max(0.0, 1000 * (sum(losses) / (rule.k * min(losses)) - 1))
        # Not as a quotient: where training stands still, any loss in generalization is too much.
        fires = loss > rule.alpha * progress
        if progress == 0:
            return Measure(fires, None if fires else 0.0, f"GL {loss:.4g} and no progress in training")
        quotient = loss / progress
        return Measure(fires, _finite(quotient / rule.alpha), _against("PQ", quotient, rule.alpha))

    def _verdict(self, epoch: int, value: float | None, measure: Measure) -> StopReason | None:
        """Derived anew each epoch, never latched: what fired before `min_epochs` was over is forgotten."""
        if self.rule is None or epoch < self.rule.min_epochs:
            return None
        target = self.rule.target
        if target is not None and value is not None and self._gain(value, target) >= 0:
            return StopReason.target_reached
        return StopReason.early_stopped if measure.fires else None

    def _reason(self, value: float | None, is_best: bool, wait: int, measure: Measure, stop: StopReason | None) -> str:
        name = self.monitor.value
        patience = f" of {self.rule.patience}" if isinstance(self.rule, Patience) else ""
        note = f", {measure.note}" if measure.note else ""
        best = "no best yet" if self.best_value is None else f"best {self.best_value:.4g} at epoch {self.best_epoch}"
        if stop is StopReason.target_reached and self.rule is not None:
            return f"{name} {value:.4g} reached the target {self.rule.target:.4g}"
        if stop is StopReason.early_stopped:
            return f"{measure.note or f'patience{patience} ran out'} ({best})"
        if value is None:
            return f"{name} is not finite{note} ({best})"
        if not is_best:
            return f"no improvement for {_epochs(wait, patience)}{note} ({best})"
        if wait:
            return (
                f"{name} {value:.4g} is the best so far, but min_delta was not exceeded for {_epochs(wait, patience)}"
            )
        undecided = note if measure.closeness is None else ""
        return f"{name} {value:.4g} is the best so far{undecided}"


def tracker_after(
    monitor: Monitor, rule: EarlyStopping | None, rows: Iterable[Epoch]
) -> tuple[Tracker, Decision | None]:
    """The state after a recorded history from epoch 1 on, and its last decision."""
    tracker, decision = Tracker(monitor, rule), None
    for row in rows:
        tracker, decision = tracker.update(row.epoch, row.value(monitor), row.train_loss)
    return tracker, decision


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _undefined(name: str, value: float | None) -> Measure:
    return Measure(note="" if value is None else f"{name} is undefined as the best value is not above 0")


def _against(name: str, measure: float, alpha: float) -> str:
    return f"{name} {measure:.4g} {'exceeds' if measure > alpha else 'of'} {alpha:.4g}"


def _epochs(wait: int, patience: str) -> str:
    return f"{wait}{patience} epoch{'s' if patience or wait != 1 else ''}"
