"""Snapshot of a job at the end of an epoch or within it, from which training resumes bit-identically; its file format.

Early stopping and the schedule are functions of the history; row order and dropout are functions of (seed, epoch). So
none of them is stored: weights, best and averaged weights, and the optimizer's moments suffice. `fingerprint` names
what else decides the bits of a result: hardware, versions and threads.
"""

from __future__ import annotations

import io
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from service.domain.checkpoint import read_metadata
from service.errors import CheckpointCorrupt
from service.spec.graph import Graph
from service.spec.optimizer import Adam, Optimizer
from service.training import checkpoint, fused_adam
from service.training.operators import large
from service.training.partial_epoch import PartialEpoch
from service.training.weights import Layout, State

KEY = "bestepoch_state"
_PARTIAL = ("losses", "weight", "dropout")
FIRST_ENGINE, SECOND_ENGINE = "1", "2"
"""Versions of the engine, by the bits of its results. The second one computes large networks on a CPU in pieces."""


@dataclass(frozen=True)
class Snapshot:
    """State of one job after an epoch or within the next one: CPU tensors without padding, by key of the state dict."""

    epoch: int  # epochs trained; 0: initial weights
    steps: int  # optimizer steps taken
    best_epoch: int  # 0: none yet
    weights: State
    best: State | None  # None: no best epoch yet, or it is this epoch
    optimizer: State  # moments by kind and key, e.g. mean.layers.0.weight
    average: State | None = None  # averaged weights; None: the job has none
    partial: PartialEpoch | None = None  # where it is within the next epoch; None: at the end of `epoch`

    @property
    def best_weights(self) -> State:
        """The weights of the best epoch, if there is one."""
        if self.best is not None:
            return self.best
        return self.weights if self.average is None else self.average


class _Metadata(BaseModel):
    """Metadata of the file."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    epoch: int
    steps: int
    best_epoch: int
    made_by: dict[str, str]  # without `engine`: the first one
    partial_step: int | None = None
    partial_seconds: float = 0.0


def to_bytes(snapshot: Snapshot, made_by: dict[str, str]) -> bytes:
    """Serialize as a safetensors file; `made_by`: the fingerprint of the machine."""
    part = snapshot.partial
    metadata = _Metadata(
        epoch=snapshot.epoch,
        steps=snapshot.steps,
        best_epoch=snapshot.best_epoch,
        made_by=made_by,
        partial_step=part and part.step,
        partial_seconds=part.seconds if part else 0.0,
    ).model_dump_json()
    parts = {
        "weights": snapshot.weights,
        "best": snapshot.best or {},
        "optimizer": snapshot.optimizer,
        "average": snapshot.average or {},
        "partial": _tensors(part),
    }
    tensors = {f"{part}/{key}": values for part, state in parts.items() for key, values in state.items()}
    return safetensors.torch.save(tensors, {KEY: metadata})


def from_bytes(data: bytes) -> tuple[Snapshot, dict[str, str]]:
    """Read a file of `to_bytes`: the snapshot and its fingerprint. A checkpoint gives a snapshot of epoch 0 with its
    weights and an empty fingerprint.

    Executes no code from the file. Raises CheckpointCorrupt for a damaged file.
    """
    described = read_metadata(io.BytesIO(data))
    if KEY not in described:
        weights = checkpoint.from_bytes(data).network.state_dict()
        return Snapshot(0, 0, 0, weights, None, {}), {}
    try:
        metadata = _Metadata.model_validate_json(described[KEY])
        tensors = safetensors.torch.load(data)
    except (ValidationError, SafetensorError) as error:
        raise CheckpointCorrupt(f"the saved state is damaged: {error}") from error
    parts: dict[str, State] = {"weights": {}, "best": {}, "optimizer": {}, "average": {}, "partial": {}}
    for name, values in tensors.items():
        part, _, key = name.partition("/")
        parts[part][key] = values
    best, average = parts["best"] or None, parts["average"] or None
    at = metadata.epoch, metadata.steps, metadata.best_epoch
    made_by = {"engine": FIRST_ENGINE, **metadata.made_by}
    partial = None
    if metadata.partial_step is not None:
        sums = [parts["partial"].get(name) for name in _PARTIAL]
        partial = PartialEpoch(metadata.partial_step, metadata.partial_seconds, *sums)  # type: ignore[arg-type]
    return Snapshot(*at, parts["weights"], best, parts["optimizer"], average, partial), made_by


def _tensors(part: PartialEpoch | None) -> State:
    """The tensors of a partial epoch by name."""
    found = {} if part is None else {name: getattr(part, name) for name in _PARTIAL}
    return {name: values for name, values in found.items() if values is not None}


def fingerprint(device: torch.device, graph: Graph, optimizer: Optimizer) -> dict[str, str]:
    """The device, CPU, threads, versions of libraries and engine that a job's results depend on: equal ones give equal
    bits."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": _cpu(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "engine": FIRST_ENGINE if device.type == "cuda" or not _is_large(graph, optimizer) else SECOND_ENGINE,
    }


def _is_large(graph: Graph, optimizer: Optimizer) -> bool:
    """Whether the job has operators or an optimizer for large networks, whose bits differ from those of the first
    version."""
    fused = isinstance(optimizer, Adam) and fused_adam.is_large(Layout(graph).columns)
    return fused or any(map(large.is_large, graph.layers))


@cache
def _cpu() -> str:
    """The CPU model and the instruction set that torch uses on it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
