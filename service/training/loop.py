"""Training one job: a generator that yields a report per epoch. To cancel, stop iterating."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from service.errors import InvalidSpec
from service.lifecycle import Epoch, StopReason
from service.spec.early_stopping import EarlyStopping
from service.spec.job import JobSpec
from service.spec.resolve import Resolved
from service.training import schedules
from service.training.early_stopping import Decision, Tracker
from service.training.metrics import Metrics
from service.training.passes import Measured, Member
from service.training.weights import State

if TYPE_CHECKING:
    from service.data.prepare import Prepared
    from service.data.preprocess import Preprocessing


@dataclass(frozen=True)
class Report:
    """One finished epoch. The states are those of this moment: fetch them before asking for the next report."""

    row: Epoch
    stop: StopReason | None  # set on the last report only
    failed: bool  # on the last report: no best was ever found, or a non-finite loss was asked to fail the job
    test: Metrics | None  # on the last report: the best weights' loss and metrics on the test rows, where there are any
    preprocessing: Preprocessing  # what the inputs went through
    best_state: Callable[[], State]  # copies on the CPU; the first weights until there is a best
    last_state: Callable[[], State]


def train(resolved: Resolved, data: Prepared, device: torch.device) -> Iterator[Report]:
    """Train until early stopping, `max_epochs`, `max_seconds` or a non-finite loss ends it.

    A row's `train_loss` is the mean over the epoch's training rows while the weights moved, with smoothing and class
    weights as trained (with weights: the weighted sum divided by the sum of weights, as nn.CrossEntropyLoss has it);
    `val_loss` has neither. Raises InvalidSpec if the monitored metric is not defined on the validation rows.
    """
    spec, monitor = resolved.spec, resolved.monitor
    member = Member(resolved, data, device)
    states = partial(member.array.best_state, 0), partial(member.array.state, 0)
    tracker = Tracker(monitor, spec.early_stopping)
    schedule = schedules.start(spec.schedule, spec.optimizer.lr, spec.max_epochs, monitor.larger_is_better)
    seconds, stop, epoch = 0.0, None, 0
    while stop is None:
        started, epoch = perf_counter(), epoch + 1
        lr = schedule.lr(epoch)
        measured = member.epoch(epoch, lr)
        value = measured.value(monitor)
        if value is None and not measured.non_finite:
            raise InvalidSpec.at("/early_stopping/monitor", f"{monitor.value} is not defined on these validation rows")
        tracker, decision = tracker.update(epoch, value)
        schedule = schedule.update(value)
        if decision.is_best:
            member.array.keep_best([0])
        row = _row(epoch, measured, lr, perf_counter() - started, decision)
        seconds += row.seconds
        stop = _stop(spec, row, decision, seconds)
        ended, found = stop is not None, tracker.best_value is not None
        failed = ended and (not found or (row.non_finite and _on_non_finite(spec) == "fail"))
        yield Report(row, stop, failed, member.test() if ended and found else None, data.preprocessing, *states)


def _row(epoch: int, measured: Measured, lr: float, seconds: float, decision: Decision) -> Epoch:
    return Epoch(
        epoch=epoch,
        train_loss=_finite(measured.train_loss),
        val_loss=_finite(measured.val_loss),
        metrics=measured.metrics,
        lr=lr,
        seconds=seconds,
        improved=decision.improved,
        is_best=decision.is_best,
        wait=decision.wait,
        reason=decision.reason,
        non_finite=measured.non_finite,
    )


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and isfinite(loss) else None


def _on_non_finite(spec: JobSpec) -> str:
    return (spec.early_stopping or EarlyStopping()).on_non_finite


def _stop(spec: JobSpec, row: Epoch, decision: Decision, seconds: float) -> StopReason | None:
    """Why training ends after this epoch, if it does; `seconds` is the training time so far."""
    if row.non_finite and _on_non_finite(spec) != "ignore":
        return StopReason.diverged
    if decision.stop is not None:
        return decision.stop
    if row.epoch == spec.max_epochs:
        return StopReason.max_epochs
    return StopReason.max_time if spec.max_seconds is not None and seconds >= spec.max_seconds else None
