"""Random generators, each a function of (purpose, seed, epoch), so that no generator state must be saved."""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Generator, Tensor


def row_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The shuffled order of the training rows in an epoch: (rows,) int64."""
    return torch.randperm(rows, generator=generator("rows", seed, epoch))


def generator(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> Generator:
    """A generator seeded by (purpose, seed, epoch)."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return Generator(device).manual_seed(int.from_bytes(digest, "big"))
