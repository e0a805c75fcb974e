"""What decides on the bits of a result beside spec and data: machine, versions, threads."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import numpy as np
import torch


def fingerprint(device: torch.device) -> dict[str, str]:
    """Facts by name; where all are equal, so are the bits."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": _cpu(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


@cache
def _cpu() -> str:
    """The processor's name and the instructions that torch uses of it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
