"""A job at the end of an epoch, as bytes: with its history up to there, all that training needs to go on exactly.

Early stopping and schedule are functions of the history, row order and dropout of (seed, epoch): none of them is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from service.errors import CheckpointCorrupt
from service.training import checkpoint
from service.training.weights import State

KEY = "bestepoch_state"


@dataclass(frozen=True)
class Snapshot:
    """Tensors on the CPU, without padding, by key in the network's state dict."""

    epoch: int  # epochs trained; 0: weights to begin with
    steps: int  # steps that the optimizer has taken
    best_epoch: int  # 0: none yet
    weights: State
    best: State | None  # None: there is none yet, or this epoch's is
    optimizer: State  # its moments by kind and key, e.g. mean.layers.0.weight


class _Metadata(BaseModel):
    """What the file says of its tensors."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    epoch: int
    steps: int
    best_epoch: int
    made_by: dict[str, str]


def to_bytes(snapshot: Snapshot, made_by: dict[str, str]) -> bytes:
    """A safetensors file; `made_by`: see `fingerprint`."""
    metadata = _Metadata(
        epoch=snapshot.epoch, steps=snapshot.steps, best_epoch=snapshot.best_epoch, made_by=made_by
    ).model_dump_json()
    parts = {"weights": snapshot.weights, "best": snapshot.best or {}, "optimizer": snapshot.optimizer}
    tensors = {f"{part}/{key}": values for part, state in parts.items() for key, values in state.items()}
    return safetensors.torch.save(tensors, {KEY: metadata})


def from_bytes(data: bytes) -> tuple[Snapshot, dict[str, str]]:
    """What `to_bytes` wrote, and what made it; of a checkpoint, its weights to begin with, made by nothing.

    Nothing in it is executed. Raises CheckpointCorrupt for a damaged file.
    """
    described = checkpoint.description(data)
    if KEY not in described:
        weights = checkpoint.from_bytes(data).network.state_dict()
        return Snapshot(0, 0, 0, weights, None, {}), {}
    try:
        metadata = _Metadata.model_validate_json(described[KEY])
        tensors = safetensors.torch.load(data)
    except (ValidationError, SafetensorError) as error:
        raise CheckpointCorrupt(f"the saved state is damaged: {error}") from error
    parts: dict[str, State] = {"weights": {}, "best": {}, "optimizer": {}}
    for name, values in tensors.items():
        part, _, key = name.partition("/")
        parts[part][key] = values
    best = parts["best"] or None
    at = metadata.epoch, metadata.steps, metadata.best_epoch
    return Snapshot(*at, parts["weights"], best, parts["optimizer"]), metadata.made_by
