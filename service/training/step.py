"""One training step: forward, backward, clipping, optimizer; on a GPU captured as a CUDA graph and replayed.

A step of small networks is about fifty kernels of a few microseconds each; without a graph, a GPU waits for the CPU to
launch them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from service.training.array import NetworkArray
from service.training.losses import BatchLoss, Loss
from service.training.optimizers import Clipping, Optimizer
from service.training.weights import Weights

log = logging.getLogger(__name__)

WARM_UP_STEPS = 8  # before the capture: libraries initialize in the first steps


class Batch(NamedTuple):
    """The rows of one training step."""

    x: Tensor  # (K, B, padded inputs)
    y: Tensor  # (K, B)
    weight: Tensor | None = None  # (K, B): sample weights
    codes: Tensor | None = None  # (K, B, coded columns): category codes


Work = Callable[[Batch], BatchLoss]


class TrainingStep:
    """The training step of an array: kernels on tensors at fixed addresses, without synchronizing with the device."""

    def __init__(
        self,
        array: NetworkArray,
        loss: Loss,
        clip: Clipping,
        optimizer: Optimizer,
        rates: Tensor,
        decay: Tensor | None = None,
        average: tuple[Weights, Tensor] | None = None,
    ) -> None:
        """`rates`: (K, 1), each member's learning rate, changed in place by the caller.

        `decay`: (K, 1), what multiplies decoupled weight decay, unless the learning rate does. `average`: weights that
        each step moves by a share (K, 1) to the array's.
        """
        self.array, self._loss, self._clip, self._optimizer, self._rates = array, loss, clip, optimizer, rates
        self._decay, self._average = decay, average
        self._replay = GraphReplay(capture_on_cuda) if array.parameters.is_cuda and not array.draws else None

    def __call__(self, batch: Batch) -> BatchLoss:
        """Train on a batch, after the optimizer's `advance`. The returned tensors are overwritten by the next step."""
        return self._work(batch) if self._replay is None else self._replay(self._work, batch)

    def _work(self, batch: Batch) -> BatchLoss:
        loss = self._loss(self.array.forward(batch.x, training=True, codes=batch.codes), batch.y, batch.weight)
        self.array.backward(loss.gradient)
        self._clip(self.array.gradient)
        self._optimizer.step(self.array.parameters, self.array.gradient, self._rates, self._decay)
        if self._average is not None:
            average, share = self._average
            average.blend(self.array.weights, share)
        return loss


class CapturedStep(NamedTuple):
    """A captured step, to be replayed with other values in the batch's tensors."""

    batch: Batch
    loss: BatchLoss  # of the last replay
    replay: Callable[[], None]


class GraphReplay:
    """Runs the first steps eagerly, then captures one and replays it; batches of another size run eagerly.

    The work is passed on each call: a reference cycle through TrainingStep would free GPU memory late.
    """

    def __init__(self, capture: Callable[[Work, Batch], CapturedStep]) -> None:
        self._capture = capture
        self._shape: torch.Size | None = None
        self._eager_steps = 0
        self._captured: CapturedStep | None = None
        self._possible = True

    def __call__(self, work: Work, batch: Batch) -> BatchLoss:
        """Run the work, which must be the same in each call."""
        self._shape = self._shape or batch.x.shape
        if (
            batch.x.shape == self._shape
            and self._captured is None
            and self._possible
            and self._eager_steps >= WARM_UP_STEPS
        ):
            self._try(work, batch)
        if self._captured is None or batch.x.shape != self._shape:
            self._eager_steps += 1
            return work(batch)
        for place, values in zip(self._captured.batch, batch, strict=True):
            if place is not None and values is not None:
                place.copy_(values)
        self._captured.replay()
        return self._captured.loss

    def _try(self, work: Work, batch: Batch) -> None:
        try:
            self._captured = self._capture(work, batch)
        except RuntimeError as error:  # without a graph the job is slower but correct
            log.warning("the step cannot be captured as a CUDA graph, training continues without: %s", error)
            self._possible = False


def capture_on_cuda(work: Work, batch: Batch) -> CapturedStep:
    """Capture the work as a CUDA graph, without running it. Raises RuntimeError if it cannot be captured."""
    own, graph = copy_of(batch), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = work(own)
    return CapturedStep(own, loss, graph.replay)


def copy_of(batch: Batch) -> Batch:
    """A copy of the batch in new memory."""
    return Batch(*(None if values is None else values.clone() for values in batch))  # type: ignore[arg-type]
