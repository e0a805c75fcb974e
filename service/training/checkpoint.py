"""LoadedCheckpoint files: safetensors, with spec, preprocessing and metrics as JSON in the header."""

from __future__ import annotations

import io
from typing import Literal, NamedTuple

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from service.data.preprocess.preprocessing import Preprocessing
from service.domain.checkpoint import METADATA_KEY, read_metadata
from service.domain.epoch import Epoch
from service.errors import CheckpointCorrupt
from service.spec.graph import Graph
from service.spec.job import JobSpec
from service.spec.lowering import lower
from service.spec.resolve import Resolved
from service.training.models import build
from service.training.modules import Network


class Metadata(BaseModel):
    """Metadata of a checkpoint's weights."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    spec: JobSpec
    inputs: int
    outputs: int
    preprocessing: Preprocessing
    epoch: int
    metrics: dict[str, float | None]

    @classmethod
    def of(cls, resolved: Resolved, preprocessing: Preprocessing, row: Epoch) -> Metadata:
        """The metadata of the weights of the epoch `row`."""
        return cls(
            spec=resolved.spec,
            inputs=resolved.inputs,
            outputs=resolved.graph.outputs,
            preprocessing=preprocessing,
            epoch=row.epoch,
            metrics={"train_loss": row.train_loss, "val_loss": row.val_loss, **row.metrics},
        )


class LoadedCheckpoint(NamedTuple):
    """A loaded checkpoint: the network in evaluation mode, and its metadata."""

    network: Network
    graph: Graph
    preprocessing: Preprocessing
    spec: JobSpec
    epoch: int
    metrics: dict[str, float | None]


def to_bytes(state: dict[str, Tensor], metadata: Metadata) -> bytes:
    """Serialize as a safetensors file; equal arguments give equal bytes."""
    return safetensors.torch.save(state, {METADATA_KEY: metadata.model_dump_json()})


def from_bytes(data: bytes) -> LoadedCheckpoint:
    """Read a file of `to_bytes`, without executing code from it. Raises CheckpointCorrupt for a damaged file."""
    state = _tensors(data)
    try:
        metadata = Metadata.model_validate_json(read_metadata(io.BytesIO(data))[METADATA_KEY])
        graph = lower(metadata.spec.architecture, metadata.preprocessing.layout, metadata.outputs)
        network = build(graph)
        network.load_state_dict(state, strict=True)
    except (KeyError, ValidationError, RuntimeError) as error:
        raise CheckpointCorrupt("the checkpoint's weights and its description do not fit together") from error
    return LoadedCheckpoint(
        network.eval(), graph, metadata.preprocessing, metadata.spec, metadata.epoch, metadata.metrics
    )


def to_pt(data: bytes) -> bytes:
    """Convert to a state dict of torch.save, for `torch.load(weights_only=True)`; equal input gives equal bytes."""
    buffer = io.BytesIO()
    torch.save(dict(sorted(_tensors(data).items())), buffer)  # safetensors does not keep the order
    return buffer.getvalue()


def _tensors(data: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointCorrupt(f"the checkpoint's file is damaged: {error}") from error
