"""Training on streamed rows: the same bits alone and in an array, resumed, and wherever the rows are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.data.preprocess.dataset import Prepared, Rows, prepare
from service.data.preprocess.streamed import StreamedRows
from service.spec.resolve import Resolved
from service.training import shards
from service.training.loop import ResumePoint
from service.worker import rows_file
from tests.data.tables import Stored, store
from tests.examples import sampled
from tests.training.arrays import AVERAGING, Outcome, assert_same
from tests.training.jobs import CPU, Observed, train
from tests.training.test_partial_epoch import interrupted_after

ROWS = 2_001
SHARED: dict[str, Any] = {"max_epochs": 3, "split": {"test": 0.1}, "early_stopping": None}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Numbers, texts, a number to predict, weights, and a class that follows from the first number."""
    numbers = [i * 37 % 101 for i in range(ROWS)]
    lines = [f"{n},{i * i % 13},{'pqr'[i % 3]},{i * 0.37 % 9},{i % 4},{n > 50}" for i, n in enumerate(numbers)]
    return store(tmp_path_factory.mktemp("table"), "a,b,c,v,w,y\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def mapped(job: Resolved, table: Stored, folder: Path) -> Prepared:
    """The rows of a job, mapped from a file."""
    path = folder / job.preparation.key
    if not path.exists():
        rows_file.write_streamed(path, StreamedRows(job.preparation, table.parquet))
    return rows_file.read(path, streamed=True)


def in_memory(data: Prepared) -> Prepared:
    """A copy of the rows in memory."""

    def copied(rows: Rows) -> Rows:
        names = ("padded", "y", "weight", "codes", "row", "truth")
        return replace(rows, pages=None, **{n: v.copy() for n in names if (v := getattr(rows, n)) is not None})

    return Prepared(copied(data.train), copied(data.validation), copied(data.test), data.preprocessing)


def trained(
    jobs: Sequence[Resolved], data: Prepared, starts: Sequence[ResumePoint | None] = ()
) -> list[list[Observed]]:
    found: list[list[Observed]] = [[] for _ in jobs]
    for reports in train(jobs, data, CPU, starts):
        for report in reports:
            found[report.member].append(report)
    return found


def outcome(observed: Sequence[Observed]) -> Outcome:
    rows = []
    for each in observed:
        outputs = None if each.outputs is None else [part.numpy().tobytes() for part in each.outputs]
        rows.append(each.row.model_dump(exclude={"seconds"}) | {"test": each.test, "outputs": outputs})
    return rows, observed[-1].best_state, observed[-1].last_state


@st.composite
def arrays(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Fields of the specs of streamed jobs that can train as one array."""
    regression, weighted = draw(st.booleans()), draw(st.booleans())
    averaging = draw(st.sampled_from([None, "ema", "swa"]))
    window = {"window_rows": draw(st.sampled_from([1_024, 1_280, 4_096]))}
    data = {"target": "v" if regression else "y", "streaming": window}
    shared = {
        **SHARED,
        "data": data | ({"weight": "w"} if weighted else {}),
        "batch_size": draw(st.sampled_from([32, 100, 1_000, 5_000])),
        "preprocess": {"categorical": draw(st.sampled_from(["one_hot", "embedding"]))},
    }
    return [
        {
            **shared,
            "architecture": {"hidden": [9], "dropout": draw(st.sampled_from([0.1, 0.4]))},
            "optimizer": {"lr": draw(st.sampled_from([0.001, 0.03]))},
            "averaging": draw(AVERAGING[averaging]),
            "seed": draw(st.integers(0, 2)),
        }
        for _ in range(draw(st.integers(2, 4)))
    ]


@sampled(5, 15)
@given(arrays())
def test_a_member_is_bit_identical_to_the_job_alone_and_to_rows_in_memory(
    table: Stored, files: Path, specs: list[dict[str, Any]]
) -> None:
    jobs = [table.resolve(each["data"]["target"], **{**each, "data": {**each["data"]}}) for each in specs]
    assert len({job.array_key for job in jobs}) == 1
    data = mapped(jobs[0], table, files)

    together = trained(jobs, data)

    for job, own in zip(jobs, together, strict=True):
        assert_same(outcome(own), outcome(trained([job], in_memory(data))[0]))


@sampled(5, 15)
@given(arrays(), st.integers(0, 2))
def test_a_job_that_resumes_is_bit_identical_to_one_that_was_not_interrupted(
    table: Stored, files: Path, specs: list[dict[str, Any]], after: int
) -> None:
    job = table.resolve(specs[0]["data"]["target"], **{**specs[0], "data": {**specs[0]["data"]}})
    data = mapped(job, table, files)
    (whole,) = trained([job], data)
    before = whole[: after + 1][:2]
    point = ResumePoint(before[-1].snapshot, [each.row for each in before])

    (rest,) = trained([job], data, [point])

    assert_same(outcome([*before, *rest]), outcome(whole))


@pytest.mark.parametrize("averaging", [None, {"kind": "swa", "start": 1}])
@pytest.mark.parametrize("steps", [1, 9, 17, 20])
def test_a_job_that_resumes_within_an_epoch_is_bit_identical_to_one_that_was_not_interrupted(
    table: Stored, files: Path, averaging: dict[str, Any] | None, steps: int
) -> None:
    fields = {**SHARED, "batch_size": 100, "architecture": {"hidden": [9], "dropout": 0.2}, "averaging": averaging}
    job = table.resolve("y", data={"streaming": {"window_rows": 1_024}}, **fields)
    data = mapped(job, table, files)
    (whole,) = trained([job], data)
    point = interrupted_after(job, steps, data)
    assert point is not None

    (rest,) = trained([job], data, [point])

    assert_same(outcome([*whole[: point.snapshot.epoch], *rest]), outcome(whole))


@contextmanager
def threads(most: int) -> Iterator[None]:
    shards.use_threads(most, lambda: 1)
    try:
        yield
    finally:
        shards.use_threads(1, lambda: 1)


def test_the_number_of_threads_does_not_matter(table: Stored, files: Path) -> None:
    fields = {**SHARED, "max_epochs": 1, "architecture": {"hidden": [1_024, 512]}, "batch_size": 512}
    job = table.resolve("y", data={"streaming": {}}, **fields)
    data = mapped(job, table, files)
    found = []
    for most in (1, 4):
        with threads(most):
            found.append(outcome(trained([job], data)[0]))

    assert_same(*found)


def test_streamed_rows_train_as_well_as_shuffled_ones(table: Stored, files: Path) -> None:
    fields = {**SHARED, "max_epochs": 10, "architecture": {"hidden": [16]}, "optimizer": {"lr": 0.01}}
    streamed = table.resolve("y", data={"streaming": {"window_rows": 1_024}}, **fields)
    memory = table.resolve("y", **fields)
    (one,) = trained([streamed], mapped(streamed, table, files))
    (other,) = trained([memory], prepare(memory.preparation, table.parquet))

    assert one[-1].row.val_loss == pytest.approx(other[-1].row.val_loss, abs=0.02)
    assert torch.isfinite(torch.tensor(one[-1].row.val_loss))
