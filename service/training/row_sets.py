"""Rows of the members of an array, and the steps in which they take them.

Members have row sets of their own, e.g. folds; members on the same rows share a set. Large sets are used where they
are, perhaps in a file that trainers share; small ones are copied into a single block. A training batch is never padded,
because batch norm would see the padding: where members' batches differ in size, neighbours with equal sizes make a step
of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from copy import copy
from functools import lru_cache
from itertools import accumulate, groupby, pairwise, repeat
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from service.training.step import Batch

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Rows
    from service.training.row_order import Orders

GATHER_VALUES = 2**17  # inputs gathered at once: 512 KiB, which fit into the CPU cache

STEPS_AHEAD = 64  # of an evaluation, whose rows are read from disk meanwhile: some 16 MiB

LARGE_BYTES = 2**20  # of a row set that is used where it is


class Span(NamedTuple):
    """Neighbouring members that take batches of the same size."""

    first: int  # member
    end: int  # the member behind the last one
    taken: int  # rows that each of them has taken before
    rows: int  # of a batch

    @property
    def members(self) -> slice:
        """The members' places in the array."""
        return slice(self.first, self.end)


class Stage(NamedTuple):
    """Consecutive steps with the same spans; members without a batch in these steps are in none."""

    steps: int
    spans: tuple[Span, ...]


def batches(rows: int, size: int, least: int = 2) -> Iterator[slice]:
    """The rows of each batch; a last batch of fewer than `least` joins the one before it: batch norm needs two rows."""
    start = 0
    while start < rows:
        end = start + size
        if size > 1 and 0 < rows - end < least:
            end = rows
        yield slice(start, end)
        start = end


@lru_cache(maxsize=64)
def batch_sizes(rows: int, size: int, least: int = 2) -> tuple[int, ...]:
    """The number of rows of each of these batches."""
    return tuple(min(batch.stop, rows) - batch.start for batch in batches(rows, size, least))


def chunk_sizes(rows: int, size: int) -> tuple[int, ...]:
    """The number of rows of each chunk of an evaluation."""
    return (size,) * (rows // size) + ((rows % size,) if rows % size else ())


def neighbours(values: Sequence[Hashable]) -> list[slice]:
    """Runs of equal values."""
    ends = list(accumulate(len(list(equal)) for _, equal in groupby(values)))
    return [slice(start, end) for start, end in pairwise([0, *ends])]


def stages(sizes: Sequence[Sequence[int]]) -> list[Stage]:
    """The stages of members that take batches of these sizes (rows of each batch, per member), in order of steps.

    There are fewer and larger spans where members with equal sizes are neighbours.
    """
    before = {each: [0, *accumulate(each)] for each in map(tuple, sizes)}
    found = []
    for first, end in pairwise(sorted({step for each in before for step in _changes(each)})):
        spans = []
        at = [(before[each][first], each[first]) if first < len(each) else None for each in map(tuple, sizes)]
        for members in neighbours(at):
            batch = at[members.start]
            if batch is not None:
                spans.append(Span(members.start, members.stop, *batch))
        found.append(Stage(end - first, tuple(spans)))
    return found


def _changes(sizes: Sequence[int]) -> Iterator[int]:
    """The steps at which the batch size changes, first and last included."""
    yield 0
    yield from accumulate(len(list(equal)) for _, equal in groupby(sizes))


class MemberRows:
    """One part of the split for K members: training, validation or test rows, on the device."""

    def __init__(self, sets: Sequence[Rows], device: torch.device, streamed: bool = False) -> None:
        """`sets`: the rows of each member; the same object for members on the same rows.

        `streamed`: rows stay where they are, in a file that is mapped into memory; batches go to the device.
        """
        self.pages = [rows.pages if streamed else None for rows in sets]
        distinct = list({id(rows): rows for rows in sets}.values())
        self._device, self._blocks = device, list[Batch]()
        places: dict[int, _Place] = {}
        for together in [[rows] for rows in distinct] if streamed else _blocks(distinct, device):
            starts = accumulate((len(rows.y) for rows in together), initial=0)
            for rows, start in zip(together, starts, strict=False):
                places[id(rows)] = _Place(len(self._blocks), start)
            self._blocks.append(_tensors(together, torch.device("cpu") if streamed else device))
        self._places = [places[id(rows)] for rows in sets]
        self.sizes = [len(rows.y) for rows in sets]

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        self.pages = [self.pages[member] for member in members]
        self._places = [self._places[member] for member in members]
        self.sizes = [self.sizes[member] for member in members]

    def only(self, members: Sequence[int]) -> MemberRows:
        """The rows of these members alone, in this order, in the same memory."""
        found = copy(self)
        found.keep(members)
        return found

    @property
    def groups(self) -> list[slice]:
        """Neighbouring members on the same rows."""
        return neighbours(list(zip(self._places, self.sizes, strict=True)))

    def release(self) -> None:
        """Release the memory of streamed rows, which are read from disk again where they are needed."""
        for pages in {*self.pages}:
            if pages is not None:
                pages.release()

    def targets(self, members: slice) -> list[Tensor]:
        """(N,) the targets of each of these members; the same object for those on the same rows."""
        views: dict[_Place, Tensor] = {}
        for place, size in zip(self._places[members], self.sizes[members], strict=True):
            views.setdefault(place, self._blocks[place.block].y[place.start : place.start + size].to(self._device))
        return [views[place] for place in self._places[members]]

    def numbered(self, orders: Sequence[Tensor]) -> Tensor:
        """(K, N of the largest set) row numbers to gather; orders: each member's order of its own rows, or its end."""
        if len({*map(len, orders)}) == 1 and not any(place.start for place in self._places):
            return torch.stack(list(orders)).to(self._device)
        numbers = torch.zeros(len(orders), max(self.sizes), dtype=torch.int64)
        for row, order, place in zip(numbers, orders, self._places, strict=True):
            torch.add(order, place.start, out=row[: len(order)])
        return numbers.to(self._device)

    def batches(self, span: Span, steps: int, orders: Orders) -> Iterator[Batch]:
        """The batches of a span in these steps; gathers many of them at once."""
        blocks = [place.block for place in self._places[span.members]]
        sources = [(self._blocks[blocks[members.start]], members) for members in neighbours(blocks)]
        members = len(blocks)
        at_once = max(1, GATHER_VALUES // (span.rows * members * _row_values(sources[0][0])))
        for first in range(0, steps, at_once):
            count = min(at_once, steps - first)
            start = span.taken + first * span.rows
            taken = orders.taken(span.members, start, start + count * span.rows)
            yield from _gathered(sources, taken.view(members, count, span.rows).transpose(0, 1), self._device)

    def inputs(self, span: Span, step: int) -> tuple[Tensor, Tensor | None]:
        """(K, rows, padded inputs) and (K, rows, coded columns) of the next rows of each member, in the set's order."""
        first = span.taken + step * span.rows
        self._read_ahead(span, first)
        parts = [
            (self._blocks[place.block], place.start + first, place.start + first + span.rows)
            for place in self._places[span.members]
        ]
        x = [block.x[start:end].to(self._device) for block, start, end in parts]
        codes = [block.codes[start:end].to(self._device) for block, start, end in parts if block.codes is not None]
        shared = len({*self._places[span.members]}) == 1
        return _stacked(x, shared), _stacked(codes, shared) if codes else None

    def _read_ahead(self, span: Span, first: int) -> None:
        """Have streamed rows read that are so many steps behind `first`; at the start, those before them too."""
        for pages, size in {*zip(self.pages[span.members], self.sizes[span.members], strict=True)}:
            if pages is not None:
                start = min(first + STEPS_AHEAD * span.rows, size) if first else 0
                pages.read_ahead(start, min(first + (STEPS_AHEAD + 1) * span.rows, size))


class _Place(NamedTuple):
    """Where a row set begins."""

    block: int
    start: int  # row


def _blocks(sets: Sequence[Rows], device: torch.device) -> list[list[Rows]]:
    """The row sets of each block: large ones alone, because a copy takes memory; others together, because gathering
    from few blocks is faster. On a GPU there is a copy anyway."""
    alone: list[list[Rows]] = []
    together: list[Rows] = []
    for rows in sets:
        if rows.padded.nbytes >= LARGE_BYTES and device.type == "cpu":
            alone.append([rows])
        else:
            together.append(rows)
    return [*alone, together] if together else alone


def _tensors(sets: Sequence[Rows], device: torch.device) -> Batch:
    """The rows of these sets, one behind another; those of a single set in its own memory, if the device has it."""

    def joined(name: str) -> Tensor | None:
        values = [torch.from_numpy(values) for rows in sets if (values := getattr(rows, name)) is not None]
        return (values[0] if len(values) == 1 else torch.cat(values)).to(device) if values else None

    x, y = joined("padded"), joined("y")
    assert x is not None
    assert y is not None
    return Batch(x, y, joined("weight"), joined("codes"))


def _row_values(block: Batch) -> int:
    """Values of a row, as numbers of 4 bytes."""
    return max(1, block.x.shape[1] + (0 if block.codes is None else 2 * block.codes.shape[1]))


def _gathered(sources: Sequence[tuple[Batch, slice]], taken: Tensor, device: torch.device) -> Iterator[Batch]:
    """The batches of the row numbers `taken` (steps, K, B); sources: a block, and the members whose rows it holds."""
    numbers = [taken[:, members] for _, members in sources]
    flat = [own.reshape(-1) for own in numbers]

    def gathered(place: int) -> Iterator[Tensor | None]:
        parts = []
        for (block, _), own, rows in zip(sources, numbers, flat, strict=True):
            values = block[place]
            if values is None:
                return repeat(None, len(taken))
            parts.append(values.index_select(0, rows).view(*own.shape, *values.shape[1:]))
        return iter((parts[0] if len(parts) == 1 else torch.cat(parts, 1)).to(device))

    return map(Batch, *map(gathered, range(len(Batch._fields))))


def _stacked(values: Sequence[Tensor], shared: bool) -> Tensor:
    """(K, rows, ...) of K tensors (rows, ...); `shared`: all are the same."""
    return values[0].expand(len(values), -1, -1) if shared else torch.stack(list(values))
