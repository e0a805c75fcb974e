"""Recognizes errors of allocations that do not fit in memory."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or torch, on the CPU or a GPU, could not allocate memory.

    torch has no exception of its own for the CPU: its allocator raises RuntimeError.
    """
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
