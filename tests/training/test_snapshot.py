"""Resuming from a snapshot is bit-identical to an uninterrupted run, in any array."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import prepare
from service.domain.epoch import Epoch
from service.errors import CheckpointCorrupt
from service.spec.resolve import Resolved
from service.training.checkpoint import Metadata
from service.training.checkpoint import to_bytes as checkpoint_bytes
from service.training.loop import ResumePoint
from service.training.snapshot import fingerprint, from_bytes, to_bytes
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.arrays import arrays, assert_same, outcomes
from tests.training.jobs import CPU, train


def stopped_after(job: Resolved, epochs: int) -> ResumePoint:
    """As it comes back from a file and a database."""
    reports = [report for (report,) in islice(train([job], prepare(job.preparation, None), CPU), epochs)]
    rows = [Epoch.model_validate_json(report.row.model_dump_json()) for report in reports]
    snapshot, _ = from_bytes(to_bytes(reports[-1].snapshot, fingerprint(CPU, job.graph, job.spec.optimizer)))
    return ResumePoint(snapshot, rows)


@pytest.mark.slow
@sampled(10, 40)
@given(arrays(), st.data())
def test_members_resumed_at_different_epochs_are_bit_identical_to_uninterrupted_ones(
    jobs: list[Resolved], data: st.DataObject
) -> None:
    undisturbed = outcomes(jobs)
    starts: list[ResumePoint | None] = []
    for job, (rows, *_) in zip(jobs, undisturbed, strict=True):
        epochs = data.draw(st.integers(0, len(rows) - 1))
        starts.append(stopped_after(job, epochs) if epochs else None)

    resumed = outcomes(jobs, starts=starts)

    for start, one, other in zip(starts, undisturbed, resumed, strict=True):
        trained = start.snapshot.epoch if start else 0
        assert_same((one[0][trained:], *one[1:]), other)


def test_a_job_may_stop_after_each_epoch() -> None:
    job = synthetic(max_epochs=60, architecture={"hidden": [8], "dropout": 0.2}, early_stopping=None)
    (undisturbed,) = outcomes([job])

    start: ResumePoint | None = None
    rows: list[Epoch] = []
    for _ in range(59):
        report = next(train([job], prepare(job.preparation, None), CPU, [start]))[0]
        rows.append(report.row)
        start = ResumePoint(from_bytes(to_bytes(report.snapshot, {}))[0], list(rows))
    (resumed,) = outcomes([job], starts=[start])

    assert_same((undisturbed[0][59:], *undisturbed[1:]), resumed)


def test_the_time_used_before_a_stop_counts() -> None:
    job = synthetic(max_epochs=1_000_000, max_seconds=5.0, early_stopping=None)
    start = stopped_after(job, 3)
    late = [row.model_copy(update={"seconds": 2.0}) for row in start.rows]

    ((report,),) = train([job], prepare(job.preparation, None), CPU, [ResumePoint(start.snapshot, late)])

    assert (report.row.epoch, report.stop) == (4, "max_time")


def test_a_checkpoint_gives_initial_weights() -> None:
    job = synthetic(max_epochs=2)
    data = prepare(job.preparation, None)
    *_, (report,) = train([job], data, CPU)
    weights = report.best_state
    file = checkpoint_bytes(weights, Metadata.of(job, data.preprocessing, report.row))

    snapshot, made_by = from_bytes(file)

    assert (snapshot.epoch, snapshot.best_epoch, snapshot.optimizer, made_by) == (0, 0, {}, {})
    torch.testing.assert_close(snapshot.weights, weights, rtol=0, atol=0)
    other = synthetic(max_epochs=1, seed=5, optimizer={"lr": 1e-9})
    ((first,),) = train([other], data, CPU, [ResumePoint(snapshot, [])])
    assert first.row.epoch == 1
    torch.testing.assert_close(first.last_state["layers.0.weight"], weights["layers.0.weight"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 100])
def test_a_damaged_file_is_reported(damage: bytes) -> None:
    with pytest.raises(CheckpointCorrupt):
        from_bytes(damage)


def test_a_truncated_file_is_reported() -> None:
    whole = to_bytes(stopped_after(synthetic(), 1).snapshot, {})

    with pytest.raises(CheckpointCorrupt, match="damaged"):
        from_bytes(whole[:-1])
