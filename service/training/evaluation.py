"""Outputs of the networks of an array in evaluation mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from service.training.row_sets import chunk_sizes, stages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from service.training.array import NetworkArray
    from service.training.progress import ProgressCounter
    from service.training.row_sets import MemberRows


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
