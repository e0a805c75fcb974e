"""The training loop: one job, or an array of jobs trained together, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
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
from service.training.epoch import ArrayTrainer
from service.training.evaluation import OUTPUT_VALUES
from service.training.member_order import array_order
from service.training.parallel import ParallelTrainer
from service.training.partial_epoch import never
from service.training.progress import ProgressCounter
from service.training.scoring import BestEvaluation, EpochMetrics
from service.training.snapshot import Snapshot
from service.training.weights import State

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared
    from service.training.ranks import Ranks


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch of one job."""

    member: int  # the job's place in the array
    row: Epoch
    stop: StopReason | None  # set in the last report of a job that succeeded
    error: JobError | None  # set in the last report of a job that failed

    @property
    def ended(self) -> bool:
        """Whether this is the job's last report."""
        return self.stop is not None or self.error is not None


@dataclass(frozen=True)
class ResumePoint:
    """Where a job resumes: a snapshot at the end of an epoch or within the next one, and its history up to there."""

    snapshot: Snapshot
    rows: Sequence[Epoch]  # of epochs 1 to snapshot.epoch


@dataclass
class _Run:
    """One job in training."""

    member: int
    job: Resolved
    tracker: Tracker
    schedule: schedules.Schedule
    epoch: int = 0
    seconds: float = 0.0  # of training so far, to the last finished epoch
    partial_seconds: float = 0.0  # of the epoch within which it is
    ended: bool = False


class Training:
    """Jobs with the same layer shapes and steps, trained as one array; each has its own rows.

    Each `epoch()` trains every active job for one epoch and returns a report for each of them. A job ends by early
    stopping, `max_epochs`, `max_seconds` or a non-finite loss, or leaves by `drop`; the others go on, with the same
    bits as alone. A job with a resume point continues from there, bit-identical to an uninterrupted run.

    Weights are copied when they are asked for. `best_state`, `last_state`, `snapshot` and `evaluate_best` describe a
    job as of its last finished epoch; a job that has ended can be asked until the next `epoch()`, later ones raise
    KeyError.

    In a row, `train_loss` is the mean over the epoch's training rows while the weights moved, with label smoothing and
    class weights as trained (with weights: the weighted sum divided by the sum of weights, as in nn.CrossEntropyLoss);
    `val_loss` has neither. `seconds` is the time of the whole array's epoch.
    """

    def __init__(
        self,
        jobs: Sequence[Resolved],
        data: Prepared | Sequence[Prepared],
        device: torch.device,
        resume: Sequence[ResumePoint | None] = (),
        progress: ProgressCounter | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        """`data`: the rows of each job, or of all; jobs that share an object share its memory.

        `resume`: a resume point or None for each job. `progress` counts the steps. `ranks`: of a job that trains on
        several devices, of which this is the leader.
        """
        resume = resume or [None] * len(jobs)
        sets = data if isinstance(data, Sequence) else [data] * len(jobs)
        order = array_order(jobs, sets)
        self._runs = [_start(member, jobs[member], resume[member]) for member in order]
        points = [resume[member] for member in order]
        snapshots = [None if point is None else point.snapshot for point in points]
        ordered = [jobs[member] for member in order], [sets[member] for member in order]
        if ranks is None:
            self._trainer = ArrayTrainer(*ordered, device, snapshots, progress)
        else:
            self._trainer = ParallelTrainer(jobs[0], sets[0], device, ranks, snapshots[0], progress)

    @property
    def active(self) -> list[int]:
        """The jobs that are still training, by their places in the array."""
        return sorted(run.member for run in self._runs if not run.ended)

    def __iter__(self) -> Iterator[list[EpochReport]]:
        """Train to the end of all jobs, an epoch at a time."""
        while self.active:
            yield self.epoch()

    def drop(self, members: Collection[int]) -> None:
        """These jobs leave the array before the next epoch."""
        for run in self._runs:
            run.ended = run.ended or run.member in members

    @property
    def interrupted(self) -> bool:
        """Whether it is within an epoch, which the next `epoch()` ends."""
        return self._trainer.interrupted

    def epoch(self, interrupt: Callable[[], bool] = never) -> list[EpochReport]:
        """Train every active job for one epoch, or for what is left of it; its reports, none when all jobs have ended.

        `interrupt` is asked after each step whether to stop within the epoch: there are no reports then, and the next
        call goes on from there, bit-identical.
        """
        if not self.active:
            return []
        self._remove_ended()
        started = perf_counter()
        step_counts = self._trainer.step_counts
        rates = [run.schedule.rates(run.epoch + 1, steps) for run, steps in zip(self._runs, step_counts, strict=True)]
        measured = self._trainer.epoch([run.epoch + 1 for run in self._runs], rates, interrupt)
        if measured is None:
            for run in self._runs:
                run.partial_seconds += perf_counter() - started
            return []
        decisions = [_advance(*each) for each in zip(self._runs, measured, strict=True)]
        self._trainer.keep_best([place for place, decision in enumerate(decisions) if decision.is_best])
        elapsed = perf_counter() - started
        reports = []
        for place, run in enumerate(self._runs):
            seconds, run.partial_seconds = run.partial_seconds + elapsed, 0.0
            run.seconds += seconds
            row = _row(run.epoch, measured[place], rates[place][-1], seconds, decisions[place])
            reports.append(_report(run, row, decisions[place]))
            run.ended = reports[-1].ended
        return sorted(reports, key=lambda report: report.member)

    def best_state(self, member: int) -> State:
        """A copy of the best epoch's weights, on the CPU; the initial weights until there is a best epoch."""
        return self._trainer.array.best_state(self._place(member))

    def last_state(self, member: int) -> State:
        """A copy of the current weights, or of their average, on the CPU."""
        return self._trainer.state(self._place(member))

    def snapshot(self, member: int) -> Snapshot:
        """A copy of all that training needs to resume after the last finished epoch, or within the next one."""
        place = self._place(member)
        run = self._runs[place]
        return self._trainer.snapshot(place, run.epoch, run.tracker.best_epoch, run.partial_seconds)

    def evaluate_best(self, members: Collection[int]) -> Iterator[dict[int, BestEvaluation | None]]:
        """Evaluate the best weights of these jobs on their validation and test rows, some jobs at a time.

        Yields them by member, so many at once that their outputs fit into memory; None without a best epoch.
        """
        without = [member for member in members if self._runs[self._place(member)].tracker.best_value is None]
        found: dict[int, BestEvaluation | None] = dict.fromkeys(without)
        values = 0
        places = [self._place(member) for member in members if member not in without]
        for group in self._trainer.evaluated_together(places):
            for place, evaluation in zip(group, self._trainer.evaluate_best(group), strict=True):
                found[self._runs[place].member] = evaluation
                values += evaluation.validation.numel() + evaluation.test.numel()
            if values >= OUTPUT_VALUES:
                yield found
                found, values = {}, 0
        if found:
            yield found

    def _place(self, member: int) -> int:
        """Where the job is in the array now; raises KeyError when it has left."""
        for place, run in enumerate(self._runs):
            if run.member == member:
                return place
        raise KeyError(member)

    def _remove_ended(self) -> None:
        staying = [place for place, run in enumerate(self._runs) if not run.ended]
        if len(staying) < len(self._runs):
            self._trainer.keep(staying)
            self._runs = [self._runs[place] for place in staying]


def _start(member: int, job: Resolved, point: ResumePoint | None) -> _Run:
    spec, monitor = job.spec, job.monitor
    schedule = schedules.start(spec.schedule, spec.optimizer.lr, spec.max_epochs, monitor.larger_is_better)
    rows = point.rows if point else []
    for row in rows:
        schedule = schedule.update(row.value(monitor))
    tracker, _ = tracker_after(monitor, spec.early_stopping, rows)
    partial = point.snapshot.partial if point else None
    seconds = sum(row.seconds for row in rows), partial.seconds if partial else 0.0
    return _Run(member, job, tracker, schedule, len(rows), *seconds)


def _advance(run: _Run, measured: EpochMetrics) -> Decision:
    """Update early stopping and the schedule with what the epoch measured."""
    run.epoch += 1
    value = measured.value(run.job.monitor)
    run.tracker, decision = run.tracker.update(run.epoch, value, measured.train_loss)
    run.schedule = run.schedule.update(value)
    return decision


def _report(run: _Run, row: Epoch, decision: Decision) -> EpochReport:
    stop, error = _stop(run.job.spec, row, decision, run.seconds), _error(run, row)
    has_best = run.tracker.best_value is not None
    if stop is not None and (not has_best or (stop is StopReason.diverged and _on_non_finite(run.job.spec) == "fail")):
        error = JobError(code=ErrorCode.non_finite_loss, message=f"epoch {row.epoch}: {row.reason}")
    return EpochReport(run.member, row, stop if error is None else None, error)


def _error(run: _Run, row: Epoch) -> JobError | None:
    """A metric that is undefined on these validation rows cannot be monitored."""
    if row.non_finite or row.value(run.job.monitor) is not None:
        return None
    message = f"{run.job.monitor.value} is not defined on these validation rows; monitor something else"
    return JobError(code=ErrorCode.invalid_spec, message=message)


def _row(epoch: int, measured: EpochMetrics, lr: float, seconds: float, decision: Decision) -> Epoch:
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
    """Why training ends after this epoch, if it does; `seconds`: training time so far."""
    if row.non_finite and _on_non_finite(spec) != "ignore":
        return StopReason.diverged
    if decision.stop is not None:
        return decision.stop
    if row.epoch == spec.max_epochs:
        return StopReason.max_epochs
    return StopReason.max_time if spec.max_seconds is not None and seconds >= spec.max_seconds else None
