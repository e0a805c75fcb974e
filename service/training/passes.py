"""One job's passes over its rows: an epoch of training, and the score of rows that are not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from service.spec.early_stopping import Monitor
from service.spec.job import Task
from service.spec.resolve import Resolved
from service.training import losses, metrics, optimizers
from service.training.array import Array
from service.training.models import initial_state

if TYPE_CHECKING:
    from service.data.prepare import Prepared, Rows

CHUNK_VALUES = 2**20  # the widest layer's values in one step of an evaluation: 4 MiB


@dataclass(frozen=True)
class Measured:
    """What one epoch measured."""

    train_loss: float  # may be NaN or infinite, as may val_loss
    val_loss: float | None  # None: there are no validation rows
    metrics: metrics.Metrics  # by the history's names: val_accuracy, ...

    @property
    def non_finite(self) -> bool:
        """Whether a loss is NaN or infinite."""
        return not all(isfinite(loss) for loss in (self.train_loss, self.val_loss) if loss is not None)

    def value(self, monitor: Monitor) -> float | None:
        """The monitored value; None where it is not defined."""
        return {**self.metrics, "train_loss": self.train_loss, "val_loss": self.val_loss}[monitor.value]


class Member:
    """One job as an array of one member, with its rows on the device."""

    def __init__(self, resolved: Resolved, data: Prepared, device: torch.device) -> None:
        self._resolved, self._data, self._device = resolved, data, device
        spec = resolved.spec
        self.array = Array(resolved.layers, [initial_state(resolved.layers, spec.seed)], device)
        self._x, self._y = self._tensors(data.train)
        self._validation = self._tensors(data.validation)
        self._loss = losses.of(spec, self._y, self.array.outputs)
        weight_decay = torch.full((1, 1), spec.optimizer.weight_decay, device=device)
        self._optimizer = optimizers.of(spec.optimizer, weight_decay, self.array.decayed)

    def epoch(self, epoch: int, lr: float) -> Measured:
        """Train for one epoch, then score the validation rows with its final weights."""
        train_loss = self._fit(epoch, lr)
        if not len(self._validation[0]):
            return Measured(train_loss, None, {})
        val_loss, scores = self._score(self.array, *self._validation)
        if not isfinite(val_loss):
            scores = dict.fromkeys(scores)
        return Measured(train_loss, val_loss, {f"val_{name}": value for name, value in scores.items()})

    def test(self) -> metrics.Metrics | None:
        """Loss and metrics of the best weights on the test rows; None without test rows."""
        if not len(self._data.test.x):
            return None
        best = Array(self._resolved.layers, [self.array.best_state(0)], self._device)
        loss, scores = self._score(best, *self._tensors(self._data.test))
        return {"loss": loss if isfinite(loss) else None, **scores}

    def _tensors(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N, padded inputs) float32 and (N,) on the device."""
        x = self.array.pad(torch.tensor(rows.x, device=self._device))
        return x, torch.tensor(rows.y, device=self._device)

    @torch.inference_mode()
    def _fit(self, epoch: int, lr: float) -> float:
        """One pass over the training rows; the mean training loss."""
        spec, rows, array = self._resolved.spec, len(self._x), self.array
        x, y = self._x, self._y
        array.draw_dropout_from([_generator("dropout", spec.seed, epoch, self._device)])
        if spec.batch_size != "full":
            order = row_order(spec.seed, epoch, rows).to(self._device)
            x, y = x[order], y[order]
        x, y = x.unsqueeze(1), y.unsqueeze(1)
        rate = torch.full((1, 1), lr, device=self._device)
        # Summed by place in the batch first: a member's sum must not depend on how many train beside it.
        total = torch.zeros(min(self._resolved.batch_rows + 1, rows), 1, dtype=torch.float64, device=self._device)
        weight: Tensor | float = 0.0
        for batch in batches(rows, self._resolved.batch_rows):
            loss = self._loss(array.forward(x[batch], training=True), y[batch])
            array.backward(loss.gradient)
            self._optimizer.step(array.parameters, array.gradient, rate)
            total[: len(loss.rows)] += loss.rows
            weight = loss.weight + weight
        return float(total.sum(0) / weight)

    @torch.inference_mode()
    def _score(self, array: Array, x: Tensor, y: Tensor) -> tuple[float, metrics.Metrics]:
        """(loss, metrics) in evaluation mode, without smoothing and class weights; x: (N, padded inputs), y: (N,)."""
        widest = max(layer.outputs for layer in self._resolved.layers)
        chunks = torch.split(x.unsqueeze(1), max(1, CHUNK_VALUES // widest))
        outputs = torch.cat([array.forward(chunk, training=False) for chunk in chunks])[:, 0]
        if self._resolved.spec.task is Task.classification:
            loss = F.cross_entropy(outputs.double(), y)
            return float(loss), metrics.classification(outputs, y)
        target = self._data.preprocessing.target
        loss = F.mse_loss(outputs[:, 0].double(), y.double())
        prediction, truth = (values.double() * target.scale + target.mean for values in (outputs[:, 0], y))
        return float(loss), metrics.regression(prediction, truth)


def batches(rows: int, size: int) -> Iterator[slice]:
    """The rows of each batch; a last batch of one row joins the one before it, as batch norm needs two."""
    start = 0
    while start < rows:
        end = start + size
        if size > 1 and rows - end == 1:
            end = rows
        yield slice(start, end)
        start = end


def row_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order in which an epoch takes the training rows: (rows,) int64."""
    return torch.randperm(rows, generator=_generator("rows", seed, epoch))


def _generator(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> Generator:
    """Randomness as a function of (seed, epoch), so that no generator's state needs saving."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return Generator(device).manual_seed(int.from_bytes(digest, "big"))
