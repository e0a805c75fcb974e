"""The cache of an object store: intact files by SHA-256, fetched once, bounded, never evicted while in use."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.artifacts import cache as cache_module
from service.artifacts.cache import IN_USE_SECONDS, LEFTOVER_SECONDS, FileCache
from service.errors import StorageError


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gives(data: bytes, fetched: list[bytes] | None = None) -> Callable[[Path], str]:
    """A `fetch` that writes these bytes."""

    def fetch(target: Path) -> str:
        if fetched is not None:
            fetched.append(data)
        target.write_bytes(data)
        return sha256(data)

    return fetch


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_file_is_fetched_once_by_all_processes(tmp_path: Path) -> None:
    fetched: list[bytes] = []

    paths = {FileCache(tmp_path, 100).path(sha256(b"rows"), gives(b"rows", fetched)) for _ in range(3)}

    assert [path.read_bytes() for path in paths] == [b"rows"]
    assert fetched == [b"rows"]


def _fetch_slowly(folder: Path, log: Path) -> None:
    def fetch(target: Path) -> str:
        with log.open("a") as file:
            file.write("fetched\n")
        with target.open("wb") as file:
            for _ in range(20):
                file.write(b"r" * 1_000)
                file.flush()
                time.sleep(0.02)
        return sha256(b"r" * 20_000)

    assert FileCache(folder, 10**6).path(sha256(b"r" * 20_000), fetch).read_bytes() == b"r" * 20_000


def test_processes_that_want_the_same_file_wait_for_one_of_them(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    several = [context.Process(target=_fetch_slowly, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(4)]
    for process in several:
        process.start()
    for process in several:
        process.join()

    assert [process.exitcode for process in several] == [0] * 4
    assert (tmp_path / "log").read_text() == "fetched\n"


def test_a_process_killed_while_it_fetches_leaves_nothing_that_is_taken_for_the_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_fetch_slowly, args=(tmp_path / "cache", tmp_path / "log"))
    process.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    process.kill()
    process.join()

    _fetch_slowly(tmp_path / "cache", tmp_path / "log")

    assert (tmp_path / "log").read_text() == "fetched\n" * 2
    assert list((tmp_path / "cache/tmp").iterdir()) == []


@pytest.mark.parametrize("damaged", [b"rowz", b"", b"rows and more"])
def test_a_file_damaged_on_the_disk_is_fetched_again(tmp_path: Path, damaged: bytes) -> None:
    FileCache(tmp_path, 100).path(sha256(b"rows"), gives(b"rows")).write_bytes(damaged)

    assert FileCache(tmp_path, 100).path(sha256(b"rows"), gives(b"rows")).read_bytes() == b"rows"


def test_a_file_with_another_sha256_is_fetched_again_and_then_given_up(tmp_path: Path) -> None:
    cache, contents = FileCache(tmp_path, 100), iter([b"rowz", b"rows", b"1", b"2"])

    def fetch(target: Path) -> str:
        return gives(next(contents))(target)

    assert cache.path(sha256(b"rows"), fetch).read_bytes() == b"rows"
    assert not cache.path(sha256(b"other"), fetch).exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_least_recently_used_files_are_evicted(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 10)
    first, second = (cache.path(sha256(data), gives(data)) for data in (b"first", b"secnd"))
    age(first, IN_USE_SECONDS + 200)
    age(second, IN_USE_SECONDS + 300)
    cache.path(sha256(b"first"), gives(b"first"))  # a use
    age(first, IN_USE_SECONDS + 100)

    third = cache.path(sha256(b"third"), gives(b"third"))

    assert [path.exists() for path in (first, second, third)] == [True, False, True]


def test_files_used_in_the_last_minutes_stay_even_beyond_the_bound(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1)

    paths = [cache.path(sha256(data), gives(data)) for data in (b"first", b"second")]

    assert [path.read_bytes() for path in paths] == [b"first", b"second"]


def test_on_a_full_disk_the_cache_makes_room(tmp_path: Path) -> None:
    cache, full = FileCache(tmp_path, 100), iter([True, False])
    old = cache.path(sha256(b"old"), gives(b"old"))
    age(old, IN_USE_SECONDS + 1)

    def fetch(target: Path) -> str:
        if next(full):
            raise OSError(28, "No space left on device")
        return gives(b"new")(target)

    assert cache.path(sha256(b"new"), fetch).read_bytes() == b"new"
    assert not old.exists()


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    def fetch(_target: Path) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        FileCache(tmp_path, 100).path(sha256(b"new"), fetch)


def test_leftovers_of_killed_processes_are_deleted_and_locked_ones_kept(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 100)
    left = tmp_path / "tmp/left"
    left.mkdir()
    partial = tmp_path / "tmp/abc.part"
    partial.touch()
    with cache.scratch() as mine:
        for path in (left, mine, partial):
            age(path, LEFTOVER_SECONDS + 1)

        FileCache(tmp_path, 100)

        assert [path.exists() for path in (left, partial, mine)] == [False, False, True]
    assert not mine.exists()


def test_verified_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path, 100)
    cache.path(sha256(b"rows"), gives(b"rows"))
    monkeypatch.setattr(cache_module, "sha256_of", lambda _path: pytest.fail("the file was read"))

    cache.path(sha256(b"rows"), gives(b"rows"))
