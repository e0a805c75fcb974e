"""Replays other early-stopping rules on a recorded history, with the tracker that training uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.domain.epoch import Epoch
from service.domain.status import StopReason
from service.errors import InvalidSpec
from service.spec.base import FrozenModel
from service.spec.early_stopping import EarlyStopping
from service.spec.job import JobSpec
from service.stopping.tracker import Tracker


class Replayed(FrozenModel):
    """Where a rule would have stopped, its regret, and the epochs saved."""

    rule: EarlyStopping
    """The rule with all defaults filled in."""
    stop_epoch: int | None
    """Epoch of the stop; null: not within the recorded history."""
    stop_reason: StopReason | None
    """`early_stopped`, `target_reached`, or `diverged` at a non-finite loss that the rule does not ignore (with `fail`
    the job fails there); null if it would not have stopped."""
    best_epoch: int | None
    """Best epoch up to the stop, which would be the best checkpoint; null: no finite value by then."""
    best_value: float | None
    """The rule's monitored value at that epoch."""
    regret: float | None
    """Difference to the best value of the whole recorded history, in the monitor's unit; 0 or more."""
    relative_regret: float | None
    """`regret` relative to the magnitude of that best value; null if the value is 0."""
    epochs_saved: int
    """Recorded epochs after the stop."""
    exact: bool
    """Whether the job, submitted with this rule, would have ended exactly so. False if the history ends before the rule
    stops, or if its monitor would have changed a `plateau` schedule."""


@dataclass
class RuleRun:
    """State of one rule during the replay."""

    rule: EarlyStopping
    tracker: Tracker  # its state at the stop
    stop_epoch: int | None = None
    stop_reason: StopReason | None = None
    best: float | None = None  # of the whole history

    def add(self, epoch: int, value: float | None, train_loss: float | None, *, non_finite: bool) -> None:
        """Add the next epoch of the history, with the rule's monitored value."""
        if value is not None:
            better = max if self.rule.monitor.larger_is_better else min
            self.best = value if self.best is None else better(self.best, value)
        if self.stop_epoch is None:
            self.tracker, decision = self.tracker.update(epoch, value, train_loss)
            diverged = non_finite and self.rule.on_non_finite != "ignore"
            self.stop_reason = StopReason.diverged if diverged else decision.stop
            self.stop_epoch = epoch if self.stop_reason else None


def started(rule: EarlyStopping) -> RuleRun:
    """The run of a rule before the first epoch."""
    return RuleRun(rule, Tracker(rule.monitor, rule))


def replay(
    spec: JobSpec, stop_reason: StopReason | None, rows: Iterable[Epoch], rules: Sequence[EarlyStopping]
) -> list[Replayed]:
    """Replay the rules on the epochs of a job, from the first one in order, in one pass.

    `spec`, `stop_reason`: those of the job; None while it is live. A result is `exact` if both hold:
    - The epochs would have been the same: the schedule is not `plateau`, or the rule's monitor is the job's.
    - The end is known: the rule stops within these epochs, or the job reached `max_epochs`, or `max_seconds`
      (assuming equal speed). It is unknown if the history was cut short by the job's own rule, by a cancellation,
      failure or non-finite loss, or if the job is still live.

    Raises InvalidSpec with a pointer such as `/rules/0/monitor` if the history lacks a rule's monitor.
    """
    runs = [started(rule) for rule in rules]
    epochs = 0
    for row in rows:
        epochs = row.epoch
        for index, run in enumerate(runs):
            value = row.value(run.rule.monitor)
            if not row.non_finite and value is None:
                message = f"the history has no {run.rule.monitor.value}"
                raise InvalidSpec.at(f"/rules/{index}/monitor", message)
            run.add(row.epoch, value, row.train_loss, non_finite=row.non_finite)
    complete = epochs >= spec.max_epochs or stop_reason is StopReason.max_time
    return [_replayed(run, epochs, complete, spec) for run in runs]


def _replayed(run: RuleRun, epochs: int, complete: bool, spec: JobSpec) -> Replayed:
    same_epochs = spec.schedule.kind != "plateau" or run.rule.monitor is spec.monitor
    value = run.tracker.best_value
    regret = None if value is None or run.best is None else abs(value - run.best)
    return Replayed(
        rule=run.rule,
        stop_epoch=run.stop_epoch,
        stop_reason=run.stop_reason,
        best_epoch=run.tracker.best_epoch or None,
        best_value=value,
        regret=regret,
        relative_regret=regret / abs(run.best) if regret is not None and run.best else None,
        epochs_saved=epochs - (run.stop_epoch or epochs),
        exact=same_epochs and (run.stop_epoch is not None or complete),
    )
