"""Members with row sets of their own, such as folds, are bit-identical to the same jobs alone."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import Prepared, prepare
from service.domain.epoch import Epoch
from service.spec.resolve import Resolved
from service.training import row_sets
from service.training.loop import ResumePoint, Training
from service.training.row_sets import MemberRows, Span, batch_sizes, stages
from tests.examples import sampled
from tests.specs import synthetic
from tests.training.arrays import AVERAGING, SCHEDULES, State, assert_same
from tests.training.jobs import CPU, evaluated, observe

Ends = dict[int, tuple[list[dict[str, Any]], State, State]]


def rows_of(jobs: Sequence[Resolved], weighted: bool = False) -> list[Prepared]:
    """The rows of each job, one object for equal splits; `weighted`: with sample weights."""
    sets = {job.preparation.key: prepare(job.preparation, None) for job in jobs}
    if weighted:
        for key, own in sets.items():
            weight = (np.arange(len(own.train.y)) % 5 / 2).astype(np.float32)
            sets[key] = replace(own, train=replace(own.train, weight=weight))
    return [sets[job.preparation.key] for job in jobs]


def outcomes(jobs: list[Resolved], stops: Container[int] = (), weighted: bool = False) -> Ends:
    """(rows but for seconds, best weights, last weights) of each job, with rows of its own.

    `stops`: after which epochs all jobs stop and resume from their snapshots, each time in reverse order.
    """
    data, rows, histories = rows_of(jobs, weighted), [list[Any]() for _ in jobs], [list[Epoch]() for _ in jobs]
    members, training, ends = list(range(len(jobs))), Training(jobs, data, CPU), Ends()
    epochs = 0
    while training.active:
        points: dict[int, ResumePoint] = {}
        reports = training.epoch()
        best = evaluated(training, reports)
        for report in reports:
            each, member = observe(training, report, best.get(report.member)), members[report.member]
            histories[member].append(each.row)
            outputs = None if each.outputs is None else [part.numpy().tobytes() for part in each.outputs]
            ended = {"test": each.test, "outputs": outputs}
            rows[member].append(each.row.model_dump(exclude={"seconds"}) | ended)
            if each.ended:
                ends[member] = rows[member], each.best_state, each.last_state
            else:
                points[member] = ResumePoint(each.snapshot, tuple(histories[member]))
        epochs += 1
        if epochs in stops and points:
            members = sorted(points, reverse=epochs % 2 == 1)
            again = [jobs[m] for m in members], [data[m] for m in members]
            training = Training(*again, CPU, [points[m] for m in members])
    return ends


SPLITS: list[dict[str, Any]] = [
    *({"folds": 4, "fold": fold, "test": 0.1} for fold in (1, 2, 3, 4)),
    *({"folds": 5, "fold": fold, "repeat": 2} for fold in (1, 5)),
    *({"seed": seed, "validation": share} for seed in (0, 1) for share in (0.02, 0.05, 0.1, 0.3)),
    {"validation": 0.2, "test": 0.3},
    {"shuffle": False, "validation": 0.5},
    *({"test": 0.2, "train_fraction": share, "train_seed": seed} for share, seed in ((0.3, 1), (0.6, 0), (1.0, 2))),
    {"folds": 4, "fold": 2, "test": 0.1, "train_fraction": 0.5},
]


@st.composite
def arrays(draw: st.DrawFn) -> list[Resolved]:
    """Jobs on one table with splits of their own."""
    rows, regression = draw(st.integers(24, 60)), draw(st.booleans())
    x = [[(i * j) % 7 / 9 for j in range(1, 6)] for i in range(rows)]
    data = {"kind": "inline", "x": x, "y": [i * 0.37 % 3 for i in range(rows)]}
    loss = {} if regression else {"loss": {"class_weight": draw(st.sampled_from([None, "balanced"]))}}
    shared = {
        "data": data if regression else {"kind": "synthetic", "rows": rows, "features": 5, "classes": 3},
        "batch_size": draw(st.sampled_from([4, 7, 16, 64, "full"])),
        "preprocess": {"numeric": draw(st.sampled_from(["standardize", "quantile"]))},
        "optimizer": {
            "kind": draw(st.sampled_from(["sgd", "adam"])),
            "max_grad_norm": draw(st.sampled_from([None, 0.1])),
        },
        "architecture": {"hidden": [draw(st.integers(1, 40))], "dropout": draw(st.sampled_from([0.0, 0.3]))},
        **loss,
    }
    averaging = draw(st.sampled_from([None, "ema", "swa"]))
    splits = draw(st.lists(st.sampled_from(SPLITS), min_size=2, max_size=4))
    if not regression:
        splits = [split if split.get("shuffle") is None else {"validation": 0.5} for split in splits]
    return [
        synthetic(
            **shared,
            split=split,
            schedule=draw(SCHEDULES),
            averaging=draw(AVERAGING[averaging]),
            seed=draw(st.integers(0, 3)),
            max_epochs=draw(st.integers(1, 5)),
            early_stopping={"monitor": "val_loss", "patience": draw(st.integers(1, 3))},
        )
        for split in splits
    ]


@sampled(10, 40)
@given(arrays(), st.integers(1, 4), st.booleans(), st.sampled_from([1, 5_000, 2**20]))
def test_members_with_rows_of_their_own_are_bit_identical_to_the_jobs_alone_also_resumed(
    jobs: list[Resolved], stop: int, weighted: bool, large: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_sets, "LARGE_BYTES", large)  # row sets from this size on are used where they are
        together, resumed = outcomes(jobs, (), weighted), outcomes(jobs, (stop,), weighted)

    for member, job in enumerate(jobs):
        alone = outcomes([job], (), weighted)[0]
        assert_same(together[member], alone)
        assert_same(resumed[member], alone)


@sampled(8, 15)
@given(arrays(), st.booleans())
def test_members_that_stop_and_resume_after_every_epoch_are_bit_identical_to_the_jobs_alone(
    jobs: list[Resolved], weighted: bool
) -> None:
    resumed = outcomes(jobs, range(1, 10), weighted)

    for member, job in enumerate(jobs):
        assert_same(resumed[member], outcomes([job], (), weighted)[0])


def test_folds_with_bins_of_their_own_train_as_one_array() -> None:
    x: list[list[float | None]] = [
        [i % 9 or None, float((i * 7) % 31) ** 2, 2.0 if i == 39 else i % 2] for i in range(40)
    ]
    data = {"kind": "inline", "x": x, "y": [i * 0.37 % 3 for i in range(40)]}
    preprocess = {"numeric": "piecewise_linear", "bins": 6, "clip_target": True}
    jobs = [
        synthetic(data=data, preprocess=preprocess, split={"folds": 5, "fold": fold}, batch_size=8, max_epochs=3)
        for fold in range(1, 6)
    ]
    prepared = [prepare(job.preparation, None).preprocessing for job in jobs]
    assert len({job.shape_key for job in jobs}) == 1
    assert {len(each.features[2].edges) for each in prepared} == {0, 3}  # one row alone has the third value
    assert {sum(f.width for f in each.features) for each in prepared} == {jobs[0].inputs}

    together = outcomes(jobs)

    for member, job in enumerate(jobs):
        assert_same(together[member], outcomes([job])[0])


def test_a_learning_curve_is_one_array_whose_members_are_bit_identical_to_the_jobs_alone() -> None:
    shares = [0.1, 0.4, 1.0]
    data = {"kind": "synthetic", "rows": 150, "features": 4}
    jobs = [
        synthetic(
            data=data,
            split={"test": 0.2, "train_fraction": share, "train_seed": seed},
            batch_size=16,
            max_epochs=3,
            seed=seed,
        )
        for share in shares
        for seed in (0, 1)
    ]
    assert len({job.shape_key for job in jobs}) == 1
    assert [len(own.train.y) for own in rows_of(jobs)] == [job.rows.train for job in jobs] == [9, 9, 36, 36, 90, 90]

    together = outcomes(jobs, (1,))

    for member, job in enumerate(jobs):
        assert_same(together[member], outcomes([job])[0])
    (whole,) = outcomes([synthetic(data=data, split={"test": 0.2}, batch_size=16, max_epochs=3)]).values()
    assert_same(together[4], whole)


@pytest.mark.parametrize("rows", [64, 67, 129])
def test_folds_that_differ_by_a_row_are_bit_identical_to_the_jobs_alone(rows: int) -> None:
    data = {"kind": "synthetic", "rows": rows, "features": 3}
    jobs = [
        synthetic(data=data, split={"folds": 8, "fold": fold}, batch_size=8, max_epochs=3, seed=seed)
        for fold in range(1, 9)
        for seed in (0, 1)
    ]

    together = outcomes(jobs)

    for member in (0, 1, 5, 14, 15):
        assert_same(together[member], outcomes([jobs[member]])[0])


def test_large_row_sets_are_not_copied() -> None:
    data = {"kind": "synthetic", "rows": 20_000, "features": 20}
    jobs = [synthetic(data=data, split={"folds": 2, "fold": fold}) for fold in (1, 2)]
    sets = [prepare(job.preparation, None).train for job in jobs]

    rows = MemberRows([sets[0], sets[1], sets[0]], CPU)

    blocks = [rows.inputs(Span(member, member + 1, 0, 5), 0)[0].data_ptr() for member in range(3)]
    assert blocks == [sets[member].padded.ctypes.data for member in (0, 1, 0)]


@given(st.lists(st.tuples(st.integers(2, 90), st.integers(1, 20)), min_size=1, max_size=6))
def test_the_stages_of_an_epoch_give_every_member_its_own_batches(members: list[tuple[int, int]]) -> None:
    sizes = [batch_sizes(*each) for each in members]

    taken: list[list[tuple[int, int]]] = [[] for _ in members]
    for stage in stages(sizes):
        for step in range(stage.steps):
            for span in stage.spans:
                for member in range(span.first, span.end):
                    taken[member].append((span.taken + step * span.rows, span.rows))

    for own, each in zip(taken, sizes, strict=True):
        assert own == list(zip([0, *accumulate(each)], each, strict=False))
