"""Pieces of large computations (shards), computed by one or more threads.

How a computation is cut depends on the shapes of the spec alone, and each piece is computed by kernels on one thread
and written to its own place. So results are bit-identical for any number of threads. torch's own threads cut by the
number of elements of all members together, which would make a member's bits depend on the array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from queue import SimpleQueue
from threading import Thread
from typing import Any

import torch

from service.engine_constants import PAD

PIECE_VALUES = 2**18
"""Values of a piece, about: 1 MiB, the size of a CPU core's cache."""

Piece = tuple[Any, ...]


class _Work:
    """Pieces that threads take one at a time."""

    def __init__(self, function: Callable[..., None], pieces: Sequence[Piece]) -> None:
        self._function = function
        self._pieces: Iterator[Piece] = iter(pieces)
        self.done: SimpleQueue[BaseException | None] = SimpleQueue()

    def take(self) -> None:
        """Compute pieces until none is left; `done` gets an item for each."""
        for piece in self._pieces:
            try:
                self._function(*piece)
            except BaseException as error:
                self.done.put(error)
            else:
                self.done.put(None)


class ThreadPool:
    """The calling thread and helper threads, which are started when they are first needed."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """`limit`: the number of threads that may compute now, the calling one included."""
        self.limit = limit
        self._inbox: SimpleQueue[_Work] = SimpleQueue()
        self._helpers = 0

    def run(self, function: Callable[..., None], pieces: Sequence[Piece]) -> None:
        """Call `function(*piece)` for each piece, in any order; raises the first error after all have ended."""
        threads = min(self.limit(), len(pieces))
        if threads <= 1:
            for piece in pieces:
                function(*piece)
            return
        while self._helpers < threads - 1:
            self._helpers += 1
            Thread(target=self._help, name=f"shards-{self._helpers}", daemon=True).start()
        work = _Work(function, pieces)
        for _ in range(threads - 1):
            self._inbox.put(work)
        work.take()
        errors = [error for _ in pieces if (error := work.done.get()) is not None]
        if errors:
            raise errors[0]

    def _help(self) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            while True:
                self._inbox.get().take()


_pool = ThreadPool(lambda: 1)


def run(function: Callable[..., None], pieces: Sequence[Piece]) -> None:
    """Call `function(*piece)` for each piece on the threads of `use_threads`."""
    _pool.run(function, pieces)


def use_threads(most: int, busy: Callable[[], int] = lambda: 1) -> None:
    """Let at most so many threads compute, and no more than this process's share of the cores.

    `busy`: the number of processes that train on this machine now.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _pool.limit = lambda: max(1, min(most, cores // max(1, busy())))


def cut(length: int, pieces: int, multiple: int = PAD) -> list[slice]:
    """At most so many slices of almost equal length, each but the last a multiple of `multiple`."""
    units = -(-length // multiple)
    pieces = max(1, min(pieces, units))
    ends = [min(length, units * place // pieces * multiple) for place in range(pieces + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def pieces_of(values: int) -> int:
    """The number of pieces for so many values: a power of two, so that 2, 4 or 8 threads have equal shares."""
    return 1 << max(0, (-(-values // PIECE_VALUES) - 1).bit_length())
