"""The order of streamed rows: each row once, shuffled in windows of blocks, a function of seed and epoch alone."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import torch
from hypothesis import given
from hypothesis import strategies as st

from service.engine_constants import BLOCK_ROWS
from service.training.row_order import WindowedOrder, WindowedOrders

ROWS = st.integers(1, 40 * BLOCK_ROWS)
WINDOWS = st.integers(1, 50 * BLOCK_ROWS)


class Pages:
    """Records which rows are read ahead, and how often pages are released."""

    def __init__(self) -> None:
        self.rows, self.releases = list[int](), 0

    def read_ahead(self, first: int, end: int) -> None:
        self.rows += range(first, end)

    def release(self) -> None:
        self.releases += 1


def whole(seed: int, epoch: int, rows: int, window: int) -> list[int]:
    order: list[int] = WindowedOrder(seed, epoch, rows, window).rows(0, rows).tolist()
    return order


@given(ROWS, WINDOWS, st.integers(0, 5), st.integers(1, 5))
def test_each_row_is_taken_once_in_an_epoch(rows: int, window: int, seed: int, epoch: int) -> None:
    assert sorted(whole(seed, epoch, rows, window)) == list(range(rows))


@given(ROWS, WINDOWS, st.data())
def test_the_order_does_not_depend_on_how_many_rows_are_taken_at_once(
    rows: int, window: int, data: st.DataObject
) -> None:
    order = WindowedOrder(3, 1, rows, window)
    taken, first = [], 0
    while first < rows:
        end = min(rows, first + data.draw(st.integers(1, max(1, rows))))
        taken += order.rows(first, end).tolist()
        first = end

    assert taken == whole(3, 1, rows, window)


@given(ROWS, WINDOWS)
def test_a_window_holds_whole_blocks_which_are_read_ahead_once(rows: int, window: int) -> None:
    pages = Pages()
    order = WindowedOrder(0, 1, rows, window, pages)
    taken = order.rows(0, rows).tolist()

    blocks, most = ceil(rows / BLOCK_ROWS), max(1, window // BLOCK_ROWS)
    assert pages.releases == len(order.ends) == ceil(blocks / most)
    for start, end in pairwise([0, *order.ends]):
        assert end - start <= max(window, BLOCK_ROWS)
        assert sorted(taken[start:end]) == sorted(pages.rows[start:end])
    assert all(row % BLOCK_ROWS == 0 or row - 1 == before for before, row in pairwise(pages.rows))


def test_the_next_window_is_read_gradually_while_rows_are_taken_and_wholly_before_it_begins() -> None:
    pages, blocks = Pages(), 50
    order = WindowedOrder(0, 1, 4 * blocks * BLOCK_ROWS, blocks * BLOCK_ROWS, pages)
    read = []
    for first in range(0, blocks * BLOCK_ROWS, BLOCK_ROWS):
        order.rows(first, first + BLOCK_ROWS)
        read.append(len(pages.rows) // BLOCK_ROWS - blocks)

    assert max(after - before for before, after in pairwise([0, *read])) <= 2
    assert read[40:] == [blocks] * 10
    pages.rows.clear()
    order.rows(blocks * BLOCK_ROWS, blocks * BLOCK_ROWS + 1)
    assert len(pages.rows) == BLOCK_ROWS


def test_rows_of_an_epoch_that_goes_on_are_read_from_its_window_on() -> None:
    pages, window = Pages(), 10 * BLOCK_ROWS
    order = WindowedOrder(0, 1, 4 * window, window, pages)
    taken = order.rows(window + 5, 2 * window).tolist()
    order.rows(0, 1)

    assert {*taken} < {*pages.rows[:window]}
    assert {*pages.rows[2 * window :]} >= {*order.rows(0, window).tolist()}


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = [tuple(whole(seed, epoch, 3_000, 1_024)) for seed in range(3) for epoch in range(1, 4)]

    assert len({*orders}) == len(orders)


def test_rows_of_a_window_come_from_all_over_the_table() -> None:
    rows = 1_000 * BLOCK_ROWS
    order = torch.tensor(whole(0, 1, rows, 50 * BLOCK_ROWS))

    means = [float(window.double().mean()) / rows for window in order.split(50 * BLOCK_ROWS)]

    assert all(0.35 < mean < 0.65 for mean in means)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 2_000))
def test_members_take_the_orders_of_their_own(seeds: list[int], rows: int) -> None:
    orders = WindowedOrders(
        [(seed, 1) for seed in seeds], [rows] * len(seeds), [0] * len(seeds), [None] * len(seeds), 1_024
    )

    taken = orders.taken(slice(0, len(seeds)), 0, rows)

    assert taken.tolist() == [whole(seed, 1, rows, 1_024) for seed in seeds]
