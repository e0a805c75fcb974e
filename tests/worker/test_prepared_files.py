"""Files of prepared rows that trainers share: the same rows, prepared once, bounded, and never needed."""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from service.artifacts import sha256_of
from service.data.preprocess.dataset import Prepared, prepare
from service.errors import DatasetCorrupt
from service.spec.resolved import Resolved
from service.training.loop import Training
from service.training.progress import ProgressCounter
from service.worker import prepared_cache, prepared_files, rows_file
from service.worker.prepared_cache import PreparedCache, TableFile
from service.worker.prepared_files import PreparedFiles
from tests.data.tables import store
from tests.specs import synthetic
from tests.training.arrays import assert_same
from tests.training.jobs import CPU, observe
from tests.worker.test_prepared_cache import jobs, seen

Usage = namedtuple("Usage", "total used free")


def never() -> Prepared:
    raise AssertionError("prepared again")


def shared(folder: Path, job: Resolved) -> Prepared:
    """The mapped rows of a job, as a trainer gets them that has not prepared them."""
    PreparedFiles(folder).get_or_prepare(job.preparation.key, lambda: prepare(job.preparation, None))
    return PreparedFiles(folder).get_or_prepare(job.preparation.key, never)


@given(jobs())
def test_mapped_rows_are_those_that_were_prepared(tmp_path_factory: pytest.TempPathFactory, job: Resolved) -> None:
    folder = tmp_path_factory.mktemp("rows")

    mapped = shared(folder, job)

    assert seen(mapped) == seen(prepare(job.preparation, None))
    for part in (mapped.train, mapped.validation, mapped.test):
        assert part.padded.ctypes.data % 64 == 0
    shutil.rmtree(folder)


def test_weights_and_codes_are_mapped_too(tmp_path: Path) -> None:
    lines = [f"{i % 7},{'abc'[i % 3]},{i % 2},{i % 5 + 1}" for i in range(60)]
    stored = store(tmp_path, "a,c,y,w\n" + "\n".join(lines) + "\n")
    preprocess = {"categorical": "embedding"}
    job = stored.resolve("y", data={"weight": "w"}, preprocess=preprocess, task="classification")
    rows = prepare(job.preparation, stored.parquet)
    assert rows.train.codes is not None

    PreparedFiles(tmp_path).get_or_prepare("key", lambda: rows)
    mapped = PreparedFiles(tmp_path).get_or_prepare("key", never)

    np.testing.assert_array_equal(mapped.train.codes, rows.train.codes)
    np.testing.assert_array_equal(mapped.train.weight, rows.train.weight)
    assert (mapped.test.codes is None, mapped.test.weight) == (rows.test.codes is None, None)


def test_jobs_on_mapped_rows_have_the_bits_of_jobs_on_rows_of_their_own(tmp_path: Path) -> None:
    data = {"kind": "synthetic", "rows": 12_003, "features": 21}
    splits: list[dict[str, Any]] = [{"folds": 3, "fold": fold, "test": 0.1} for fold in (1, 2, 3)]
    folds = [synthetic(data=data, split=split, max_epochs=2, early_stopping=None) for split in splits]

    own = ends(folds, [prepare(job.preparation, None) for job in folds])
    mapped = ends(folds, [shared(tmp_path, job) for job in folds])

    for one, other in zip(own, mapped, strict=True):
        assert_same(one, other)


def ends(jobs: list[Resolved], rows: list[Prepared]) -> list[Any]:
    """(rows but for seconds, best weights, last weights) of each job."""
    training = Training(jobs, rows, CPU)
    *_, last = [[observe(training, report) for report in reports] for reports in training]
    return [([each.row.model_dump(exclude={"seconds"})], each.best_state, each.last_state) for each in last]


def test_trainers_that_need_the_same_rows_at_once_prepare_them_once(tmp_path: Path) -> None:
    job, calls, begun, release = synthetic(), list[int](), Event(), Event()

    def slow() -> Prepared:
        calls.append(1)
        begun.set()
        assert release.wait(10)
        return prepare(job.preparation, None)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(PreparedFiles(tmp_path).get_or_prepare, "key", slow)
        assert begun.wait(10)
        second = pool.submit(PreparedFiles(tmp_path).get_or_prepare, "key", slow)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        release.set()

    assert len(calls) == 1
    assert seen(first.result()) == seen(second.result())


def test_the_watchdog_sees_progress_while_a_trainer_waits_for_another(tmp_path: Path) -> None:
    job, progress = synthetic(), ProgressCounter()
    with (tmp_path / "key.part").open("wb") as preparing, ThreadPoolExecutor() as pool:
        fcntl.flock(preparing, fcntl.LOCK_EX)
        files = PreparedFiles(tmp_path, progress)
        waiting = pool.submit(files.get_or_prepare, "key", lambda: prepare(job.preparation, None))
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        seen_by_watchdog = progress.value
        with pytest.raises(TimeoutError):
            waiting.result(0.3)

        assert progress.value > seen_by_watchdog > 0
        fcntl.flock(preparing, fcntl.LOCK_UN)

    assert seen(waiting.result()) == seen(prepare(job.preparation, None))


def test_where_the_first_trainer_cannot_prepare_the_rows_the_next_one_does(tmp_path: Path) -> None:
    job, calls, waiting = synthetic(), list[int](), Event()

    def fails_once() -> Prepared:
        calls.append(1)
        assert waiting.wait(10)
        if len(calls) == 1:
            raise DatasetCorrupt
        return prepare(job.preparation, None)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(PreparedFiles(tmp_path).get_or_prepare, "key", fails_once) for _ in range(8)]
        waiting.set()

    errors = [each.exception() for each in asked if each.exception() is not None]
    assert [type(error) for error in errors] == [DatasetCorrupt]
    assert len(calls) == 2
    assert names(tmp_path) == ["key.rows"]


def test_nothing_but_the_rows_is_left_in_the_folder(tmp_path: Path) -> None:
    job = synthetic()

    def fails() -> Prepared:
        raise DatasetCorrupt

    with pytest.raises(DatasetCorrupt):
        PreparedFiles(tmp_path).get_or_prepare("key", fails)
    assert names(tmp_path) == []

    shared(tmp_path, job)
    assert names(tmp_path) == [f"{job.preparation.key}.rows"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_an_unfinished_file_counts_while_it_is_written_and_is_deleted_when_its_writer_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [synthetic(split={"seed": seed}) for seed in range(3)]
    shared(tmp_path, jobs[0])
    (size,) = {file.stat().st_size for file in tmp_path.glob("*.rows")}
    monkeypatch.setattr(prepared_files, "MAX_BYTES", 2 * size)
    with (tmp_path / "other.part").open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        writer.truncate(size)

        shared(tmp_path, jobs[1])

        assert names(tmp_path) == sorted(["other.part", f"{jobs[1].preparation.key}.rows"])

    shared(tmp_path, jobs[2])

    assert names(tmp_path) == sorted(f"{job.preparation.key}.rows" for job in jobs[1:])


def test_the_least_recently_used_file_is_deleted_first_and_its_rows_stay_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = [synthetic(split={"seed": seed}) for seed in range(3)]
    first, second = (shared(tmp_path, job) for job in splits[:2])
    (size,) = {file.stat().st_size for file in tmp_path.glob("*.rows")}
    monkeypatch.setattr(prepared_files, "MAX_BYTES", 2 * size)
    shared(tmp_path, splits[0])

    shared(tmp_path, splits[2])

    left = {file.stem for file in tmp_path.glob("*.rows")}
    assert left == {splits[0].preparation.key, splits[2].preparation.key}
    assert seen(first) == seen(prepare(splits[0].preparation, None))
    assert seen(second) == seen(prepare(splits[1].preparation, None))


@pytest.mark.parametrize("fault", ["no folder", "disk full", "no room left beside", "cannot be mapped"])
def test_where_rows_cannot_be_shared_a_trainer_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if fault == "no room left beside":
        monkeypatch.setattr(prepared_files.shutil, "disk_usage", lambda _: Usage(10, 10, 0))
    if fault == "disk full":
        monkeypatch.setattr(rows_file, "write", full)
    if fault == "cannot be mapped":
        monkeypatch.setattr(rows_file.mmap, "mmap", full)
    job = synthetic()
    folder = tmp_path / "missing" if fault == "no folder" else tmp_path

    with caplog.at_level(logging.WARNING):
        found = PreparedFiles(folder).get_or_prepare("key", lambda: prepare(job.preparation, None))

    assert seen(found) == seen(prepare(job.preparation, None))
    assert "stay in this trainer's memory" in caplog.text
    assert not list(tmp_path.glob("*.rows")) + list(tmp_path.glob("*.part"))


def test_a_truncated_file_of_a_killed_writer_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "key.part").write_bytes(b"half of")
    job = synthetic()

    PreparedFiles(tmp_path).get_or_prepare("key", lambda: prepare(job.preparation, None))

    assert seen(PreparedFiles(tmp_path).get_or_prepare("key", never)) == seen(prepare(job.preparation, None))
    assert not list(tmp_path.glob("*.part"))


def test_the_cache_shares_large_row_sets_and_no_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = synthetic(), synthetic(data={"kind": "synthetic", "rows": 10_000, "features": 20})
    assert small.row_set_bytes < prepared_cache.MIN_SHARED_BYTES <= large.row_set_bytes

    PreparedCache(PreparedFiles(tmp_path)).get_or_prepare([small, large], None)
    monkeypatch.setattr(prepared_cache, "prepare_table", lambda *_: never())
    PreparedCache(PreparedFiles(tmp_path)).get_or_prepare([large], None)

    assert {file.stem for file in tmp_path.glob("*.rows")} == {large.preparation.key}


def test_shared_rows_need_neither_the_table_nor_its_hash(tmp_path: Path) -> None:
    stored = store(tmp_path, "a,y\n" + "\n".join(f"{i * 0.3},{i % 2}" for i in range(20_000)) + "\n")
    job = stored.resolve("y", task="classification")
    table = TableFile(stored.parquet, sha256_of(stored.parquet))
    (own,) = PreparedCache(PreparedFiles(tmp_path)).get_or_prepare([job], table)
    stored.parquet.unlink()

    (mapped,) = PreparedCache(PreparedFiles(tmp_path)).get_or_prepare([job], table)

    assert isinstance(own, Prepared)
    assert isinstance(mapped, Prepared)
    assert seen(own) == seen(mapped)
