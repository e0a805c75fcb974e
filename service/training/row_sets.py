"""Rows of the members of an array, and the steps in which they take them.

Members have row sets of their own, e.g. folds, which lie one behind another in the same tensors; members on the same
rows share a set. A training batch is never padded, because batch norm would see the padding: where members' batches
differ in size, neighbours with equal sizes make a step of their own.
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

GATHER_VALUES = 2**17  # inputs gathered at once: 512 KiB, which fit into the CPU cache


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


def batches(rows: int, size: int) -> Iterator[slice]:
    """The rows of each batch; a last batch of one row joins the one before it, because batch norm needs two."""
    start = 0
    while start < rows:
        end = start + size
        if size > 1 and rows - end == 1:
            end = rows
        yield slice(start, end)
        start = end


@lru_cache(maxsize=64)
def batch_sizes(rows: int, size: int) -> tuple[int, ...]:
    """The number of rows of each of these batches."""
    return tuple(min(batch.stop, rows) - batch.start for batch in batches(rows, size))


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

    def __init__(self, sets: Sequence[Rows], width: int, device: torch.device) -> None:
        """`sets`: the rows of each member; the same object for members on the same rows. `width`: of padded inputs."""
        distinct = list({id(rows): rows for rows in sets}.values())
        starts = dict(zip(map(id, distinct), accumulate((len(rows.y) for rows in distinct), initial=0), strict=False))
        self._tensors = _tensors(distinct, width, device)
        self._starts = [starts[id(rows)] for rows in sets]
        self.sizes = [len(rows.y) for rows in sets]

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        self._starts = [self._starts[member] for member in members]
        self.sizes = [self.sizes[member] for member in members]

    def only(self, members: Sequence[int]) -> MemberRows:
        """The rows of these members alone, in this order, in the same memory."""
        found = copy(self)
        found.keep(members)
        return found

    @property
    def groups(self) -> list[slice]:
        """Neighbouring members on the same rows."""
        return neighbours(list(zip(self._starts, self.sizes, strict=True)))

    def targets(self, members: slice) -> list[Tensor]:
        """(N,) the targets of each of these members; the same object for those on the same rows."""
        views: dict[int, Tensor] = {}
        for start, size in zip(self._starts[members], self.sizes[members], strict=True):
            views.setdefault(start, self._tensors.y[start : start + size])
        return [views[start] for start in self._starts[members]]

    def numbered(self, orders: Sequence[Tensor]) -> Tensor:
        """(K, N of the largest set) row numbers to gather; orders: each member's order of its own rows."""
        if len({*self.sizes}) == 1 and not any(self._starts):
            return torch.stack(list(orders)).to(self._tensors.y.device)
        numbers = torch.zeros(len(orders), max(self.sizes), dtype=torch.int64)
        for row, order, start in zip(numbers, orders, self._starts, strict=True):
            torch.add(order, start, out=row[: len(order)])
        return numbers.to(self._tensors.y.device)

    def batches(self, span: Span, steps: int, numbers: Tensor) -> Iterator[Batch]:
        """The batches of a span in these steps; gathers many of them at once. numbers: see `numbered`."""
        own = numbers[span.members]
        members = len(own)
        coded = 0 if self._tensors.codes is None else 2 * self._tensors.codes.shape[1]  # int64
        width = max(1, self._tensors.x.shape[1] + coded)
        at_once = max(1, GATHER_VALUES // (span.rows * members * width))
        for first in range(0, steps, at_once):
            count = min(at_once, steps - first)
            start = span.taken + first * span.rows
            taken = own[:, start : start + count * span.rows].view(members, count, span.rows).transpose(0, 1)
            yield from self._gather(taken)

    def _gather(self, taken: Tensor) -> Iterator[Batch]:
        """The batches of the row numbers `taken` (steps, K, B)."""
        numbers = taken.reshape(-1)
        parts = (
            repeat(None, len(taken))
            if values is None
            else values.index_select(0, numbers).view(*taken.shape, *values.shape[1:])
            for values in self._tensors
        )
        return map(Batch, *parts)

    def inputs(self, span: Span, step: int) -> tuple[Tensor, Tensor | None]:
        """(K, rows, padded inputs) and (K, rows, coded columns) of the next rows of each member, in the set's order."""
        first = span.taken + step * span.rows
        starts = [start + first for start in self._starts[span.members]]
        codes = self._tensors.codes
        x = _views(self._tensors.x, starts, span.rows)
        return x, None if codes is None else _views(codes, starts, span.rows)


def _views(values: Tensor, starts: Sequence[int], rows: int) -> Tensor:
    """(K, rows, ...) `rows` of the values from each start on."""
    if len({*starts}) == 1:
        return values[starts[0] : starts[0] + rows].expand(len(starts), -1, -1)
    return torch.stack([values[start : start + rows] for start in starts])


def _tensors(sets: Sequence[Rows], width: int, device: torch.device) -> Batch:
    """The rows of all sets, one behind another: x (N, width), y (N,), weight (N,) and codes (N, coded columns)."""
    x = torch.zeros(sum(len(rows.y) for rows in sets), width)
    values, end = x.numpy(), 0
    for rows in sets:
        start, end = end, end + len(rows.y)
        values[start:end, : rows.x.shape[1]] = rows.x
    y = torch.cat([torch.tensor(rows.y) for rows in sets])
    weights = [torch.tensor(rows.weight) for rows in sets if rows.weight is not None]
    codes = [torch.tensor(rows.codes) for rows in sets if rows.codes is not None]
    optional = (torch.cat(each).to(device) if each else None for each in (weights, codes))
    return Batch(x.to(device), y.to(device), *optional)
