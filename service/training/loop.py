"""Training one job or an array of them: a generator that yields a report per job and epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from service.domain.epoch import Epoch
from service.domain.job import JobError
from service.domain.status import ErrorCode, StopReason
from service.spec.early_stopping import Patience
from service.spec.job import JobSpec
from service.spec.resolve import Resolved
from service.stopping.tracker import Decision, Tracker, tracker_after
from service.training import schedules
from service.training.epoch import Group, Measured, Pulse
from service.training.metrics import Metrics
from service.training.snapshot import Snapshot
from service.training.weights import State

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared
    from service.data.preprocess.preprocessing import Preprocessing


@dataclass(frozen=True)
class Report:
    """One finished epoch of one job. The states are those of this moment: fetch them before the next reports."""

    member: int  # the job's place among those that train together
    row: Epoch
    stop: StopReason | None  # on the last report of a job that succeeded
    error: JobError | None  # on the last report of a job that failed
    # On the last report the best weights' loss and metrics on the test rows, where there are any; else None. Called by
    # whoever has this report, so that a fault in scoring cannot keep the row of the new best weights from them.
    test: Callable[[], Metrics | None]
    preprocessing: Preprocessing  # what the inputs went through
    best_state: Callable[[], State]  # copies on the CPU; the first weights until there is a best
    last_state: Callable[[], State]
    snapshot: Callable[[], Snapshot]  # what the job goes on from

    @property
    def ended(self) -> bool:
        """Whether this is the job's last report."""
        return self.stop is not None or self.error is not None


@dataclass(frozen=True)
class Start:
    """Where a job goes on: the end of an epoch, and the rows of its history up to there."""

    snapshot: Snapshot
    rows: Sequence[Epoch]  # 1 to snapshot.epoch


@dataclass
class _Run:
    """One job on its way."""

    member: int
    job: Resolved
    tracker: Tracker
    schedule: schedules.Schedule
    epoch: int = 0
    seconds: float = 0.0  # of training so far


def train(
    jobs: Sequence[Resolved],
    data: Prepared,
    device: torch.device,
    starts: Sequence[Start | None] = (),
    pulse: Pulse | None = None,
) -> Generator[list[Report], Collection[int] | None, None]:
    """Train jobs that share `data` and an `array_key` as one array; each yield has a report of every job under way.

    A job with a start goes on there, to the bits it would have had without a stop; the others begin. `pulse` counts
    the steps.

    A job leaves when early stopping, `max_epochs`, `max_seconds` or a non-finite loss ends it, or when its number is
    sent back in answer to a yield; the others go on, to the same bits as alone. To cancel all, stop iterating.

    A row's `train_loss` is the mean over the epoch's training rows while the weights moved, with smoothing and class
    weights as trained (with weights: the weighted sum divided by the sum of weights, as nn.CrossEntropyLoss has it);
    `val_loss` has neither. `seconds` is the epoch of the whole array.
    """
    starts = starts or [None] * len(jobs)
    group = Group(jobs, data, device, [None if start is None else start.snapshot for start in starts], pulse)
    runs = [_start(member, job, start) for member, (job, start) in enumerate(zip(jobs, starts, strict=True))]
    while runs:
        started = perf_counter()
        rates = [run.schedule.lr(run.epoch + 1) for run in runs]
        measured = group.epoch([run.epoch + 1 for run in runs], rates)
        decisions = [_advance(*each) for each in zip(runs, measured, strict=True)]
        group.array.keep_best([place for place, decision in enumerate(decisions) if decision.is_best])
        seconds = perf_counter() - started
        reports = []
        for place, run in enumerate(runs):
            run.seconds += seconds
            row = _row(run.epoch, measured[place], rates[place], seconds, decisions[place])
            reports.append(_report(group, place, run, row, decisions[place], data.preprocessing))
        leaving = set((yield reports) or ()) | {report.member for report in reports if report.ended}
        staying = [place for place, run in enumerate(runs) if run.member not in leaving]
        if staying and len(staying) < len(runs):
            group.keep(staying)
        runs = [runs[place] for place in staying]


def _start(member: int, job: Resolved, start: Start | None) -> _Run:
    spec, monitor = job.spec, job.monitor
    schedule = schedules.start(spec.schedule, spec.optimizer.lr, spec.max_epochs, monitor.larger_is_better)
    rows = start.rows if start else []
    for row in rows:
        schedule = schedule.update(row.value(monitor))
    tracker, _ = tracker_after(monitor, spec.early_stopping, rows)
    return _Run(member, job, tracker, schedule, len(rows), sum(row.seconds for row in rows))


def _advance(run: _Run, measured: Measured) -> Decision:
    """Take in what the run's next epoch measured."""
    run.epoch += 1
    value = measured.value(run.job.monitor)
    run.tracker, decision = run.tracker.update(run.epoch, value, measured.train_loss)
    run.schedule = run.schedule.update(value)
    return decision


def _report(
    group: Group, place: int, run: _Run, row: Epoch, decision: Decision, preprocessing: Preprocessing
) -> Report:
    stop, error = _stop(run.job.spec, row, decision, run.seconds), _error(run, row)
    found = run.tracker.best_value is not None
    if stop is not None and (not found or (stop is StopReason.diverged and _on_non_finite(run.job.spec) == "fail")):
        error = JobError(code=ErrorCode.non_finite_loss, message=f"epoch {row.epoch}: {row.reason}")
    if error is not None:
        stop = None
    test = partial(group.test, place) if found and (stop or error) else _not_scored
    states = (
        partial(group.array.best_state, place),
        partial(group.array.state, place),
        partial(group.snapshot, place, run.epoch, run.tracker.best_epoch),
    )
    return Report(run.member, row, stop, error, test, preprocessing, *states)


def _not_scored() -> None:
    """The test rows of a job that goes on, or has no best epoch."""


def _error(run: _Run, row: Epoch) -> JobError | None:
    """A metric that is not defined on these validation rows cannot be monitored."""
    if row.non_finite or row.value(run.job.monitor) is not None:
        return None
    message = f"{run.job.monitor.value} is not defined on these validation rows; monitor something else"
    return JobError(code=ErrorCode.invalid_spec, message=message)


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
        closeness=decision.closeness,
        reason=decision.reason,
        non_finite=measured.non_finite,
    )


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and isfinite(loss) else None


def _on_non_finite(spec: JobSpec) -> str:
    return (spec.early_stopping or Patience()).on_non_finite


def _stop(spec: JobSpec, row: Epoch, decision: Decision, seconds: float) -> StopReason | None:
    """Why training ends after this epoch, if it does; `seconds` is the training time so far."""
    if row.non_finite and _on_non_finite(spec) != "ignore":
        return StopReason.diverged
    if decision.stop is not None:
        return decision.stop
    if row.epoch == spec.max_epochs:
        return StopReason.max_epochs
    return StopReason.max_time if spec.max_seconds is not None and seconds >= spec.max_seconds else None
