"""What other stopping rules would have made of a recorded history: the trackers of training, fed from the record."""

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
    """Where a rule would have stopped, and what that would have cost and saved."""

    rule: EarlyStopping
    """The rule with every default written out."""
    stop_epoch: int | None
    """The epoch at which it would have stopped; null: not within the recorded history."""
    stop_reason: StopReason | None
    """`early_stopped`, `target_reached`, or `diverged` at a loss that is not finite and that the rule does not ignore
    (with `fail` the job fails there); null where it would not have stopped."""
    best_epoch: int | None
    """The best epoch up to the stop, whose weights would be the best checkpoint; null: no finite value by then."""
    best_value: float | None
    """The rule's monitored value at that epoch."""
    regret: float | None
    """How much worse that is than the best value of the whole recorded history, in the monitor's unit; 0 or more."""
    relative_regret: float | None
    """`regret` as a share of that best value's magnitude; null where it is 0."""
    epochs_saved: int
    """Recorded epochs after the stop."""
    exact: bool
    """Whether this job, submitted with this rule, would have ended just so. No: the record ends before the rule does,
    or the monitor would have steered a `plateau` schedule otherwise."""


@dataclass
class _Run:
    """A rule on its way through the history."""

    rule: EarlyStopping
    tracker: Tracker  # as it was when the rule stopped
    stop_epoch: int | None = None
    stop_reason: StopReason | None = None
    best: float | None = None  # of the whole history

    def add(self, row: Epoch) -> None:
        value = row.value(self.rule.monitor)
        if value is not None:
            better = max if self.rule.monitor.larger_is_better else min
            self.best = value if self.best is None else better(self.best, value)
        if self.stop_epoch is None:
            self.tracker, decision = self.tracker.update(row.epoch, value, row.train_loss)
            diverged = row.non_finite and self.rule.on_non_finite != "ignore"
            self.stop_reason = StopReason.diverged if diverged else decision.stop
            self.stop_epoch = row.epoch if self.stop_reason else None


def replay(
    spec: JobSpec, stop_reason: StopReason | None, rows: Iterable[Epoch], rules: Sequence[EarlyStopping]
) -> list[Replayed]:
    """What each rule makes of the epochs of a job, in order from the first, in one pass.

    `spec`, `stop_reason`: the job's, the latter None while it lives. An answer is `exact` where both hold:
    - The epochs would have been the same: the schedule is not `plateau`, or the rule's monitor is the job's.
    - The end is known: the rule stops within these epochs, or the job's own limit would have ended it with them: the
      last one is `max_epochs`, or the job ran into `max_seconds` there (at the same pace, that is). It is not known
      where the job's own rule, a cancellation, a failure or a loss that its rule did not ignore cut the record short,
      nor while the job still lives.

    Raises InvalidSpec with a pointer such as `/rules/0/monitor` where the history does not hold a rule's monitor.
    """
    runs = [_Run(rule, Tracker(rule.monitor, rule)) for rule in rules]
    epochs = 0
    for row in rows:
        epochs = row.epoch
        for index, run in enumerate(runs):
            if not row.non_finite and row.value(run.rule.monitor) is None:
                message = f"the history has no {run.rule.monitor.value}"
                raise InvalidSpec.at(f"/rules/{index}/monitor", message)
            run.add(row)
    whole = epochs >= spec.max_epochs or stop_reason is StopReason.max_time
    return [_replayed(run, epochs, whole, spec) for run in runs]


def _replayed(run: _Run, epochs: int, whole: bool, spec: JobSpec) -> Replayed:
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
        exact=same_epochs and (run.stop_epoch is not None or whole),
    )
