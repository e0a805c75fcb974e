"""The order of an array's members and of a member's training rows; generators that are functions of (seed, epoch)."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from service.training.row_sets import batch_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.data.preprocess.dataset import Prepared
    from service.spec.resolve import Resolved


def array_order(jobs: Sequence[Resolved], data: Sequence[Prepared]) -> list[int]:
    """The order of members in which an array is fastest: those with batches of equal sizes are neighbours."""
    sets: dict[int, int] = {}
    keys = []
    for job, each in zip(jobs, data, strict=True):
        rows = len(each.train.y)
        sizes = batch_sizes(rows, batch_rows(job, rows))
        full = sum(size == sizes[0] for size in sizes)
        keys.append((full, sizes[-1], len(each.validation.y), sets.setdefault(id(each), len(sets))))
    return sorted(range(len(jobs)), key=keys.__getitem__)


def batch_rows(job: Resolved, rows: int) -> int:
    """Rows of a full batch of a job with this many training rows."""
    size = job.spec.batch_size
    return rows if size == "full" else min(size, rows)


def row_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The shuffled order of the training rows in an epoch: (rows,) int64."""
    return torch.randperm(rows, generator=generator_of("rows", seed, epoch))


def generator_of(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> Generator:
    """A generator seeded by (seed, epoch), so that no generator state must be saved."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return Generator(device).manual_seed(int.from_bytes(digest, "big"))
