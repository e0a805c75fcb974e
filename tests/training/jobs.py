"""Jobs that several tests train, and what they observe after each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.data.preprocess.dataset import Prepared, prepare
from service.domain.epoch import Epoch
from service.domain.job import JobError
from service.domain.status import StopReason
from service.spec.resolve import Resolved
from service.training.loop import EpochReport, ResumePoint, Training
from service.training.metrics import Metrics
from service.training.models import build
from service.training.modules import Network
from service.training.scoring import BestEvaluation
from service.training.snapshot import Snapshot
from service.training.weights import State
from tests.specs import synthetic

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Observed:
    """A job after one of its epochs."""

    member: int
    row: Epoch
    stop: StopReason | None
    error: JobError | None
    best_state: State
    last_state: State
    snapshot: Snapshot
    test: Metrics | None  # of a job that has ended
    outputs: list[Tensor] | None  # of its best weights, for the validation and the test rows

    @property
    def ended(self) -> bool:
        return self.stop is not None or self.error is not None


def evaluated(training: Training, reports: Sequence[EpochReport]) -> dict[int, BestEvaluation | None]:
    """What the best weights of those jobs that have ended give, evaluated together."""
    ended = [report.member for report in reports if report.ended]
    return {member: found for some in training.evaluate_best(ended) for member, found in some.items()}


def observe(training: Training, report: EpochReport, best: BestEvaluation | None = None) -> Observed:
    """The job of this report as it is now."""
    member = report.member
    states = training.best_state(member), training.last_state(member), training.snapshot(member)
    test = None if best is None else best.test_metrics
    kept = None if best is None else [best.validation, best.test]
    return Observed(member, report.row, report.stop, report.error, *states, test, kept)


def train(
    jobs: Sequence[Resolved], data: Prepared, device: torch.device, resume: Sequence[ResumePoint | None] = ()
) -> Iterator[list[Observed]]:
    """Train these jobs to their ends as one array."""
    training = Training(jobs, data, device, resume)
    for reports in training:
        best = evaluated(training, reports)
        yield [observe(training, report, best.get(report.member)) for report in reports]


def job(**fields: Any) -> tuple[Resolved, Prepared]:
    """A small job with `fields` of its spec set, and its rows."""
    resolved = synthetic(**fields)
    return resolved, prepare(resolved.preparation, None)


def reports(**fields: Any) -> Iterator[Observed]:
    """Such a job after each of its epochs."""
    resolved, data = job(**fields)
    return (report for (report,) in train([resolved], data, CPU))


def network_of(resolved: Resolved, state: dict[str, Tensor]) -> Network:
    """The plain network with these weights, in evaluation mode."""
    network = build(resolved.graph)
    network.load_state_dict(state, strict=True)
    return network.eval()
