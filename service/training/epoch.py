"""Passes of jobs that train as one array: an epoch of training, and the score of rows that are not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite, nan
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from service.spec.early_stopping import Monitor
from service.spec.job import Task
from service.spec.layers import values_held
from service.spec.resolve import Resolved
from service.training import losses, metrics, optimizers
from service.training.array import Array
from service.training.models import initial_state
from service.training.snapshot import Snapshot
from service.training.step import Batch, Step

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared, Rows

CHUNK_VALUES = 2**16  # a member's values of the widest layer in one step of an evaluation: 256 KiB
GATHER_VALUES = 2**17  # inputs gathered at once: 512 KiB, which stay in the cache


@dataclass
class ProgressCounter:
    """Steps counted, for those who watch whether training gets on."""

    value: int = 0


@dataclass(frozen=True)
class EpochMetrics:
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


class ArrayTrainer:
    """Jobs that share rows and layer shapes as one array, with the rows on the device."""

    def __init__(
        self,
        jobs: Sequence[Resolved],
        data: Prepared,
        device: torch.device,
        after: Sequence[Snapshot | None],
        progress: ProgressCounter | None = None,
    ) -> None:
        """Each job goes on `after` a snapshot, or begins."""
        self._progress = ProgressCounter() if progress is None else progress  # a shared counter at 0 is falsy
        self._jobs, self._data, self._device = list(jobs), data, device
        begun = list(zip(jobs, after, strict=True))
        states = [initial_state(job.layers, job.spec.seed) if at is None else at.weights for job, at in begun]
        rounded = jobs[0].spec.precision == "bfloat16"
        self.array = Array([job.layers for job in jobs], states, device, rounded)
        self._x, self._y = self._tensors(data.train)
        self._weight = None if data.train.weight is None else torch.tensor(data.train.weight, device=device)
        self._validation = self._tensors(data.validation)
        widest = max(values_held(layer) for layer in jobs[0].layers)
        # How few rows are multiplied may decide on their bits, so this must not depend on the number of members.
        self._chunk = max(64, CHUNK_VALUES // widest)
        self._optimizer = optimizers.of([job.spec.optimizer for job in jobs], self.array.decayed)
        self._optimizer.resume([0 if at is None else at.steps for at in after])
        for member, at in enumerate(after):
            if at is not None:
                self._remember(member, at)
        self._prepare()

    def _remember(self, member: int, at: Snapshot) -> None:
        if at.best is not None:
            self.array.load_best(member, at.best)
        if at.optimizer:
            for name, matrix in self._optimizer.moments().items():
                for key, values in self.array.named(matrix).items():
                    values[member] = at.optimizer[f"{name}.{key}"]

    def snapshot(self, member: int, epoch: int, best_epoch: int) -> Snapshot:
        """The member as it is now, at the end of `epoch`."""
        best = None if best_epoch in (0, epoch) else self.array.best_state(member)
        moments = {
            f"{name}.{key}": values[member].cpu().clone(memory_format=torch.contiguous_format)
            for name, matrix in self._optimizer.moments().items()
            for key, values in self.array.named(matrix).items()
        }
        return Snapshot(epoch, self._optimizer.steps(member), best_epoch, self.array.state(member), best, moments)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone, in this order; the others' weights are gone."""
        self._jobs = [self._jobs[member] for member in members]
        self.array.keep(members)
        self._optimizer.keep(members)
        self._prepare()

    def epoch(self, epochs: Sequence[int], rates: Sequence[float]) -> list[EpochMetrics]:
        """Train each member for its epoch at its rate, then score the validation rows with the weights it ends with."""
        train_losses = self._fit(epochs, rates)
        if not len(self._validation[0]):
            return [EpochMetrics(loss, None, {}) for loss in train_losses]
        scores = self._score(self.array, *self._validation)
        return [_measured(loss, *score) for loss, score in zip(train_losses, scores, strict=True)]

    def test(self, member: int) -> metrics.Metrics | None:
        """Loss and metrics of the member's best weights on the test rows; None without test rows."""
        if not len(self._data.test.x):
            return None
        best = Array([self._jobs[member].layers], [self.array.best_state(member)], self._device)
        ((loss, scores),) = self._score(best, *self._tensors(self._data.test))
        return {"loss": loss if isfinite(loss) else None, **scores}

    def _prepare(self) -> None:
        """What depends on who the members are."""
        specs = [job.spec for job in self._jobs]
        loss = losses.of(specs, self._y, self.array.outputs)
        clip = optimizers.Clipping([spec.optimizer for spec in specs], self.array.gradient)
        self._step = Step(self.array, loss, clip, self._optimizer)

    def _tensors(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N, padded inputs) float32 and (N,) on the device."""
        x = self.array.pad(torch.tensor(rows.x, device=self._device))
        return x, torch.tensor(rows.y, device=self._device)

    @torch.inference_mode()
    def _fit(self, epochs: Sequence[int], rates: Sequence[float]) -> list[float]:
        """One pass of each member over the training rows, in its own order; the mean training losses."""
        seeds, size, rows = [job.spec.seed for job in self._jobs], self._jobs[0].batch_rows, len(self._x)
        pairs = list(zip(seeds, epochs, strict=True))
        self.array.draw_dropout_from([_generator("dropout", *pair, self._device) for pair in pairs])
        order = torch.stack([self._order(*pair) for pair in pairs]).to(self._device)
        self._step.set_rates(list(rates))
        # Summed by place in the batch first: a sum over few numbers may depend on how many members there are.
        total = torch.zeros(len(pairs), min(size + 1, rows), dtype=torch.float64, device=self._device)
        weight: Tensor | float = 0.0
        for batch in self._batches(order, size):
            loss = self._step(batch)
            self._progress.value += 1
            total[:, : loss.rows.shape[1]] += loss.rows
            weight = loss.weight + weight
        means: list[float] = (total.sum(1) / weight).tolist()
        return means

    def _order(self, seed: int, epoch: int) -> Tensor:
        """(N,) the rows in the order in which a member takes them in an epoch."""
        rows = len(self._x)
        return torch.arange(rows) if self._jobs[0].spec.batch_size == "full" else row_order(seed, epoch, rows)

    def _batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        """The rows of each step; order: (K, N). Many full batches are gathered at once."""
        members, rows = order.shape
        at_once = max(1, GATHER_VALUES // (size * members * self._x.shape[1]))
        steps = list(batches(rows, size))
        full = sum(min(step.stop, rows) - step.start == size for step in steps[:-1])
        for first in range(0, full, at_once):
            count = min(at_once, full - first)
            taken = order[:, first * size : (first + count) * size].view(members, count, size).transpose(0, 1)
            yield from self._gather(taken)
        for step in steps[full:]:
            yield from self._gather(order[:, step].unsqueeze(0))

    def _gather(self, taken: Tensor) -> Iterator[Batch]:
        """The rows numbered by `taken` (steps, K, B), step by step."""
        numbers = taken.reshape(-1)
        x = self._x.index_select(0, numbers).view(*taken.shape, -1)
        y = self._y.index_select(0, numbers).view(taken.shape)
        if self._weight is None:
            return map(Batch, x, y)
        return map(Batch, x, y, self._weight.index_select(0, numbers).view(taken.shape))

    @torch.inference_mode()
    def _score(self, array: Array, x: Tensor, y: Tensor) -> list[tuple[float, metrics.Metrics]]:
        """(loss, metrics) of each member in evaluation mode, without smoothing and class weights.

        x: (N, padded inputs), y: (N,).
        """
        members = len(array.parameters)
        each = []
        for chunk in torch.split(x, self._chunk):
            each.append(array.forward(chunk.expand(members, -1, -1), training=False)[..., : array.outputs])
            self._progress.value += 1
        outputs = torch.cat(each, 1)
        if self._jobs[0].spec.task is Task.classification:
            scores = metrics.classification(outputs, y)
            return [(_or_nan(score["log_loss"]), score) for score in scores]
        target, predicted = self._data.preprocessing.target, outputs[..., 0].double()
        losses = (predicted - y).square().mean(1).tolist()
        truth = y.double() * target.scale + target.mean
        return list(zip(losses, metrics.regression(predicted * target.scale + target.mean, truth), strict=True))


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def _measured(train_loss: float, val_loss: float, scores: metrics.Metrics) -> EpochMetrics:
    if not isfinite(val_loss):
        scores = dict.fromkeys(scores)
    return EpochMetrics(train_loss, val_loss, {f"val_{name}": value for name, value in scores.items()})


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
