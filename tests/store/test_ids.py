"""Ids are unique and sort by time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.store.ids import new_id


def test_ids_of_one_process_sort_in_creation_order() -> None:
    ids = [new_id("job") for _ in range(100_000)]

    assert ids == sorted(set(ids))


def test_ids_sort_by_time_even_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("job")
    monkeypatch.setattr(time, "time_ns", lambda: 1)

    assert new_id("job") > before


@pytest.mark.e2e
def test_ids_are_unique_across_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(new_id, ["ds"] * 20_000))

    assert len(set(ids)) == len(ids)
    assert all(len(made) == len("ds_") + 24 and made.startswith("ds_") for made in ids)
