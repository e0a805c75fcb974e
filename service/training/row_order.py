"""The order in which a job takes its training rows: a function of (seed, epoch), so that no state must be saved.

Rows in memory are permuted. Rows that are streamed from disk are shuffled twice: blocks of consecutive rows, then the
rows within a window of blocks (CorgiPile; Xu et al. 2022, arXiv 2206.05830). So the disk is read block by block, and
memory holds a window.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from service.engine_constants import BLOCK_ROWS
from service.training.generators import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.data.preprocess.dataset import Pages

LEAD = 1.25  # all rows of the next window are asked for when four fifths of a window are taken


class Orders(Protocol):
    """The orders in which the members of an array take their training rows in an epoch."""

    def taken(self, members: slice, first: int, end: int) -> Tensor:
        """(K, end - first) int64 numbers of the rows at these places of each of these members' orders."""


class FullOrders:
    """Orders that are in memory: (K, N of the largest set)."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers

    def taken(self, members: slice, first: int, end: int) -> Tensor:
        """See Orders."""
        return self._numbers[members, first:end]


class WindowedOrder:
    """The order of one member's streamed rows in an epoch, computed window by window."""

    def __init__(self, seed: int, epoch: int, rows: int, window_rows: int, pages: Pages | None = None) -> None:
        """`pages`: of the file that holds the rows; those of the next window are read while this one's are taken."""
        self._seed, self._epoch, self._rows, self._pages = seed, epoch, rows, pages
        blocks = torch.randperm(-(-rows // BLOCK_ROWS), generator=generator("blocks", seed, epoch))
        most = max(1, window_rows // BLOCK_ROWS)
        self._windows = blocks.tensor_split(-(-len(blocks) // most))  # of equal sizes, to within a block
        # The places behind the last row of each window.
        self.ends = list(accumulate(len(self._numbers(window)) for window in range(len(self._windows))))
        self._current, self._ahead = -1, 0  # blocks of the next window whose pages have been asked for
        self._order: Tensor  # of the current window

    def rows(self, first: int, end: int) -> Tensor:
        """(end - first,) int64 numbers of the rows at these places; fastest when asked for one after another."""
        parts = []
        while first < end:
            window = bisect_right(self.ends, first)
            start = self.ends[window - 1] if window else 0
            until = min(end, self.ends[window])
            parts.append(self._shuffled(window)[first - start : until - start])
            self._read_ahead(window + 1, LEAD * (until - start) / (self.ends[window] - start))
            first = until
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _shuffled(self, window: int) -> Tensor:
        if window != self._current:
            numbers = self._numbers(window)
            order = torch.randperm(len(numbers), generator=generator(f"window {window}", self._seed, self._epoch))
            if window != self._current + 1:
                self._ahead = 0
            if self._pages is not None:
                self._pages.release()
            self._read_ahead(window, 1.0)
            self._current, self._order, self._ahead = window, numbers[order], 0
        return self._order

    def _numbers(self, window: int) -> Tensor:
        """The rows of the window's blocks, block by block; the last block of all may be shorter."""
        numbers = (self._windows[window][:, None] * BLOCK_ROWS + torch.arange(BLOCK_ROWS)).view(-1)
        return numbers[numbers < self._rows]

    def _read_ahead(self, window: int, share: float) -> None:
        """Ask for this share of a window; all of it at once would fill the disk's queue, and the caller would wait."""
        if self._pages is None or window == len(self._windows):
            return
        blocks = self._windows[window]
        wanted = min(len(blocks), ceil(share * len(blocks)))
        for block in blocks[self._ahead : wanted].tolist():
            self._pages.read_ahead(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, self._rows))
        self._ahead = max(self._ahead, wanted)


class WindowedOrders:
    """Orders of streamed rows; members with the same order share it."""

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        sizes: Sequence[int],
        skipped: Sequence[int],
        pages: Sequence[Pages | None],
        window_rows: int,
    ) -> None:
        """`pairs`: seed and epoch of each member; `sizes`: its rows; `skipped`: how many it has taken before; `pages`:
        of the file that holds them."""
        keys = list(zip(pairs, sizes, pages, strict=True))
        found = {key: WindowedOrder(*key[0], key[1], window_rows, key[2]) for key in dict.fromkeys(keys)}
        self._orders = [(found[key], taken) for key, taken in zip(keys, skipped, strict=True)]

    def taken(self, members: slice, first: int, end: int) -> Tensor:
        """See Orders."""
        return torch.stack([order.rows(taken + first, taken + end) for order, taken in self._orders[members]])
