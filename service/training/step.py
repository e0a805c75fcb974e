"""One step of training: forward, backward, optimizer; on a GPU captured once as a CUDA graph and replayed.

A step of small networks is some fifty kernels of a few microseconds each: launched one by one, a GPU waits for the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from service.training.array import Array
from service.training.losses import BatchLoss, Loss
from service.training.optimizers import Clipping, Optimizer

log = logging.getLogger(__name__)

PLAIN_STEPS = 8  # before a capture: libraries set themselves up in the first ones


class Batch(NamedTuple):
    """The rows of one step."""

    x: Tensor  # (K, B, padded inputs)
    y: Tensor  # (K, B)
    weight: Tensor | None = None  # (K, B): what each row counts


Work = Callable[[Batch], BatchLoss]


class Step:
    """The step of an array: kernels on tensors that stay where they are, and nothing that waits for the device."""

    def __init__(self, array: Array, loss: Loss, clip: Clipping, optimizer: Optimizer) -> None:
        self._array, self._loss, self._clip, self._optimizer = array, loss, clip, optimizer
        self._rates = torch.empty(len(array.parameters), 1, device=array.parameters.device)
        self._replay = Replay(capture_on_cuda) if array.parameters.is_cuda and not array.draws else None

    def set_rates(self, rates: list[float]) -> None:
        """Each member's learning rate from now on."""
        self._rates.copy_(torch.tensor(rates).view(-1, 1))

    def __call__(self, batch: Batch) -> BatchLoss:
        """Train on a batch. What it returns holds until the next step."""
        self._optimizer.advance()
        return self._work(batch) if self._replay is None else self._replay(self._work, batch)

    def _work(self, batch: Batch) -> BatchLoss:
        loss = self._loss(self._array.forward(batch.x, training=True), batch.y, batch.weight)
        self._array.backward(loss.gradient)
        self._clip(self._array.gradient)
        self._optimizer.step(self._array.parameters, self._array.gradient, self._rates)
        return loss


class Captured(NamedTuple):
    """A step on a batch, to be repeated with others in its place."""

    batch: Batch
    loss: BatchLoss  # of the last replay
    replay: Callable[[], None]


class Replay:
    """Runs the first steps plainly, captures the next of the first one's size, and replays it; others run plainly.

    It is handed the work anew each time: a Step that held itself would be freed late, and a GPU's memory with it.
    """

    def __init__(self, capture: Callable[[Work, Batch], Captured]) -> None:
        self._capture = capture
        self._shape: torch.Size | None = None
        self._plain = 0
        self._captured: Captured | None = None
        self._possible = True

    def __call__(self, work: Work, batch: Batch) -> BatchLoss:
        """As the work itself, which must be the same each time."""
        self._shape = self._shape or batch.x.shape
        if batch.x.shape == self._shape and self._captured is None and self._possible and self._plain >= PLAIN_STEPS:
            self._try(work, batch)
        if self._captured is None or batch.x.shape != self._shape:
            self._plain += 1
            return work(batch)
        for place, values in zip(self._captured.batch, batch, strict=True):
            if place is not None and values is not None:
                place.copy_(values)
        self._captured.replay()
        return self._captured.loss

    def _try(self, work: Work, batch: Batch) -> None:
        try:
            self._captured = self._capture(work, batch)
        except RuntimeError as error:  # a kernel that cannot be captured costs speed, not the job
            log.warning("the step cannot be captured as a CUDA graph, it goes on without: %s", error)
            self._possible = False


def capture_on_cuda(work: Work, batch: Batch) -> Captured:
    """The work as a CUDA graph; capturing launches nothing. Raises RuntimeError where it cannot be captured."""
    own, graph = copy_of(batch), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = work(own)
    return Captured(own, loss, graph.replay)


def copy_of(batch: Batch) -> Batch:
    """The same values in other memory."""
    return Batch(batch.x.clone(), batch.y.clone(), None if batch.weight is None else batch.weight.clone())
