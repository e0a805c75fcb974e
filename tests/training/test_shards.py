"""Threads that share pieces of a computation."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.training import shards


@given(st.integers(1, 5_000), st.integers(1, 20), st.sampled_from([1, 32]))
def test_slices_cover_the_length_once_and_almost_equally(length: int, pieces: int, multiple: int) -> None:
    slices = shards.cut(length, pieces, multiple)

    assert [place for each in slices for place in range(length)[each]] == list(range(length))
    assert len(slices) <= pieces
    assert all(each.start % multiple == 0 and each.stop > each.start for each in slices)
    sizes = [each.stop - each.start for each in slices]
    assert max(sizes) - min(sizes) < 2 * multiple


def test_pieces_run_on_as_many_threads_as_allowed() -> None:
    pool = shards.ThreadPool(lambda: 3)
    together, seen = threading.Barrier(3, timeout=10.0), set[int]()

    def piece(place: int) -> None:
        together.wait()
        seen.add(threading.get_ident())

    pool.run(piece, [(place,) for place in range(3)])

    assert len(seen) == 3
    assert threading.get_ident() in seen


def test_an_error_is_raised_when_all_pieces_have_ended() -> None:
    pool, done = shards.ThreadPool(lambda: 2), list[int]()

    def piece(place: int) -> None:
        if place == 1:
            raise ValueError("wrong")
        done.append(place)

    with pytest.raises(ValueError, match="wrong"):
        pool.run(piece, [(place,) for place in range(9)])

    assert sorted(done) == [0, *range(2, 9)]


@pytest.mark.parametrize(("most", "busy", "threads"), [(4, 1, 4), (4, 2, 4), (8, 3, 2), (1, 1, 1), (8, 9, 1)])
def test_busy_processes_share_the_cores(most: int, busy: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = shards.ThreadPool(lambda: 1)
    monkeypatch.setattr(shards, "_pool", pool)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))

    shards.use_threads(most, lambda: busy)

    assert pool.limit() == threads
