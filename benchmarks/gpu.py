"""Seconds per job and epoch on a GPU: alone and in arrays, CUDA graph and eager steps, float32 and bfloat16.

    python -m benchmarks.gpu [repetitions]

The table is that of `benchmarks.engine`; the wide network has three layers of 4,096 and trains on 20,000 x 512 rows,
batch 1,024; the images are 5,000 of 3 x 32 x 32, batch 256, three convolutions of 64 to 256 channels with batch norm.
All take turns; medians are compared. Needs a CUDA device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import engine
from benchmarks.engine import Loops, take_turns
from service.data.preprocess.dataset import prepare
from service.spec.data import SyntheticData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.training import step
from service.training.loop import Training

GPU = torch.device("cuda")
WIDTHS = (1, 16, 64, 256)
WIDE = {
    "data": {"kind": "synthetic", "rows": 25_000, "features": 512},
    "architecture": {"kind": "mlp", "hidden": [4_096, 4_096, 4_096]},
    "batch_size": 1_024,
}
IMAGES = {
    "data": {"kind": "synthetic", "rows": 6_250, "features": 3 * 32 * 32},
    "architecture": {"kind": "cnn", "shape": [3, 32, 32], "channels": [64, 128, 256], "hidden": [256]},
    "batch_size": 256,
}


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    loops: Loops = {
        "table: loop over slices, CPU": (1, engine.by_slices()),
        "table: loop over slices, GPU": (1, engine.by_slices(GPU)),
        "table: bestepoch on the CPU, array of 16": (16, engine.ours(16)),
    }
    for width in WIDTHS:
        loops[f"table: bestepoch, array of {width}"] = (width, engine.ours(width, GPU))
        loops[f"table: bestepoch, array of {width}, steps not replayed"] = (width, plainly(engine.ours(width, GPU)))
    for precision in ("float32", "bfloat16"):
        loops[f"wide: bestepoch, alone, {precision}"] = (1, ours({**WIDE, "precision": precision}))
        loops[f"images: bestepoch, alone, {precision}"] = (1, ours({**IMAGES, "precision": precision}))
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False  # as trainers do
    for name, seconds in take_turns(loops, repetitions).items():
        print(f"{name:60s}{seconds * 1000:10.2f} ms a job and epoch")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(GPU)}, one CPU thread")


def plainly(loop: Iterator[None]) -> Iterator[None]:
    """The loop, with each step's kernels launched one by one."""
    while True:
        before, step.WARM_UP_STEPS = step.WARM_UP_STEPS, sys.maxsize
        try:
            next(loop)
        finally:
            step.WARM_UP_STEPS = before
        yield


def ours(fields: dict[str, Any]) -> Iterator[None]:
    spec = JobSpec.model_validate({**fields, "device": "cuda", "max_epochs": 1_000_000, "early_stopping": None})
    assert isinstance(spec.data, SyntheticData)
    resolved = resolve(spec, profile_of(spec.data))
    for _ in Training([resolved], prepare(resolved.preparation, None), GPU):
        yield


if __name__ == "__main__":
    main()
