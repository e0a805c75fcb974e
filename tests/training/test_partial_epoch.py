"""Training that is interrupted within epochs is bit-identical to an uninterrupted run, in any array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import Prepared, prepare
from service.domain.epoch import Epoch
from service.spec.resolve import Resolved
from service.training.loop import ResumePoint, Training
from service.training.snapshot import from_bytes, to_bytes
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.arrays import arrays, assert_same, outcomes
from tests.training.jobs import CPU

Interrupt = Callable[[], bool]


def after(steps: int) -> Interrupt:
    """Interrupts after so many steps, counted over all epochs, once."""
    left = steps

    def interrupt() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    return interrupt


def interrupted_after(job: Resolved, steps: int, data: Prepared | None = None) -> ResumePoint | None:
    """The job after so many of its steps, as it comes back from a file and a database; None: it has ended before."""
    training = Training([job], data or prepare(job.preparation, None), CPU)
    interrupt, rows = after(steps), list[Epoch]()
    while training.active and not training.interrupted:
        rows += [Epoch.model_validate_json(report.row.model_dump_json()) for report in training.epoch(interrupt)]
    if not training.interrupted:
        return None
    return ResumePoint(from_bytes(to_bytes(training.snapshot(0), {}))[0], rows)


def assert_resumed(job: Resolved, undisturbed: Any, start: ResumePoint | None, resumed: Any) -> None:
    trained = start.snapshot.epoch if start else 0
    assert_same((undisturbed[0][trained:], *undisturbed[1:]), resumed)


@pytest.mark.slow
@sampled(8, 40)
@given(arrays(), st.data())
def test_members_resumed_within_epochs_are_bit_identical_to_uninterrupted_ones(
    jobs: list[Resolved], data: st.DataObject
) -> None:
    undisturbed = outcomes(jobs)
    starts = [interrupted_after(job, data.draw(st.integers(1, 12), label="steps")) for job in jobs]

    resumed = outcomes(jobs, starts=starts)

    for each in zip(jobs, undisturbed, starts, resumed, strict=True):
        assert_resumed(*each)


@pytest.mark.parametrize(
    "fields",
    [
        {"architecture": {"hidden": [8], "dropout": 0.3}},
        {"averaging": {"kind": "ema", "decay": 0.9}},
        {"averaging": {"kind": "swa", "start": 1}},
        {"schedule": {"kind": "one_cycle"}, "optimizer": {"kind": "adamw", "weight_decay": 0.1}},
        {"batch_size": "full"},
        {"early_stopping": {"patience": 1}},
    ],
)
def test_a_job_may_be_interrupted_after_each_step(fields: dict[str, Any]) -> None:
    job = synthetic(**{"max_epochs": 4, "batch_size": 10, "early_stopping": None, **fields})
    (undisturbed,) = outcomes([job])

    for steps in range(1, 4 * job.steps_per_epoch):
        start = interrupted_after(job, steps)
        (resumed,) = outcomes([job], starts=[start])
        assert_resumed(job, undisturbed, start, resumed)


def test_an_interrupted_array_goes_on_in_the_same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [synthetic(seed=seed, max_epochs=4, batch_size=10, architecture={"dropout": 0.2}) for seed in range(3)]
    undisturbed = outcomes(jobs)
    epoch = Training.epoch

    def interrupted(training: Training) -> Sequence[Any]:
        reports: Sequence[Any] = []
        while not reports and training.active:
            reports = epoch(training, after(2))
        return reports

    monkeypatch.setattr(Training, "epoch", interrupted)
    resumed = outcomes(jobs)

    for one, other in zip(undisturbed, resumed, strict=True):
        assert_same(one, other)


def test_a_member_that_leaves_within_an_epoch_does_not_change_the_others() -> None:
    jobs = [synthetic(seed=seed, max_epochs=3, batch_size=10) for seed in range(3)]
    alone = outcomes(jobs[2:])[0]
    training = Training(jobs, prepare(jobs[0].preparation, None), CPU)

    assert training.epoch(after(2)) == []
    training.drop({0})
    rows = [report.row for reports in training for report in reports if report.member == 2]

    assert [(row.train_loss, row.val_loss) for row in rows] == [
        (row["train_loss"], row["val_loss"]) for row in alone[0]
    ]


def test_the_time_before_the_interruption_counts() -> None:
    job = synthetic(max_epochs=2, batch_size=10)
    start = interrupted_after(job, 2)
    assert start is not None
    assert start.snapshot.partial is not None

    training = Training([job], prepare(job.preparation, None), CPU, [start])
    (report,) = training.epoch()

    assert report.row.seconds > start.snapshot.partial.seconds > 0
    assert not training.interrupted
