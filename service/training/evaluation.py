"""Outputs of the networks of an array in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.training.row_sets import chunk_sizes, stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from service.data.preprocess.dataset import Prepared
    from service.training.array import NetworkArray
    from service.training.progress import ProgressCounter
    from service.training.row_sets import MemberRows

OUTPUT_VALUES = 2**24  # of members whose best weights are evaluated together: 64 MiB


def groups_on_the_same_rows(data: Sequence[Prepared], members: Sequence[int], outputs: int) -> Iterator[Sequence[int]]:
    """Groups of these members with the same validation and test rows, as many as memory allows for their outputs."""
    sets: dict[int, list[int]] = {}
    for member in members:
        sets.setdefault(id(data[member]), []).append(member)
    for group in sets.values():
        rows = data[group[0]]
        values = (len(rows.validation.y) + len(rows.test.y)) * outputs
        at_once = max(1, OUTPUT_VALUES // max(values, 1))
        yield from (group[start : start + at_once] for start in range(0, len(group), at_once))


def outputs_of(
    array: NetworkArray, rows: MemberRows, chunk: int, progress: ProgressCounter
) -> Iterator[tuple[slice, Tensor]]:
    """(K, N, outputs) in evaluation mode of each group of neighbours on the same rows, if there are any."""
    outputs: list[list[Tensor]] = [[] for _ in rows.sizes]  # of the first member of each group
    groups = [members for members in rows.groups if rows.sizes[members.start]]
    for stage in stages([chunk_sizes(each, chunk) for each in rows.sizes]):
        parts = [array.part(span.members) for span in stage.spans]
        for step in range(stage.steps):
            progress.value += 1
            for span, part in zip(stage.spans, parts, strict=True):
                x, codes = rows.inputs(span, step)
                made = part.forward(x, training=False, codes=codes)[..., : array.outputs]
                for members in groups:
                    if span.first <= members.start < span.end:
                        own = made[members.start - span.first : members.stop - span.first]
                        outputs[members.start].append(own)
            rows.release()
    for members in groups:
        yield members, torch.cat(outputs[members.start], 1)
