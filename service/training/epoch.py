"""One epoch of an array of jobs: training steps, then evaluation on the validation rows; scoring of test rows."""

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
from service.spec.resolve import Resolved
from service.training import losses, metrics, optimizers
from service.training.array import NetworkArray
from service.training.models import initial_state
from service.training.snapshot import Snapshot
from service.training.step import Batch, TrainingStep

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared, Rows

CHUNK_VALUES = 2**16  # of a member in the widest layer, per step of evaluation: 256 KiB
GATHER_VALUES = 2**17  # inputs gathered at once: 512 KiB, which fit into the CPU cache


@dataclass
class ProgressCounter:
    """Counts steps, so that a watchdog sees whether training makes progress."""

    value: int = 0


@dataclass(frozen=True)
class EpochMetrics:
    """Losses and metrics of one epoch."""

    train_loss: float  # may be NaN or infinite; so may val_loss
    val_loss: float | None  # None: there are no validation rows
    metrics: metrics.Metrics  # keyed as in the history: val_accuracy, ...

    @property
    def non_finite(self) -> bool:
        """Whether a loss is NaN or infinite."""
        return not all(isfinite(loss) for loss in (self.train_loss, self.val_loss) if loss is not None)

    def value(self, monitor: Monitor) -> float | None:
        """The monitored value; None where it is not defined."""
        return {**self.metrics, "train_loss": self.train_loss, "val_loss": self.val_loss}[monitor.value]


class ArrayTrainer:
    """Trains jobs that share rows and layer shapes as one array, with the rows on the device."""

    def __init__(
        self,
        jobs: Sequence[Resolved],
        data: Prepared,
        device: torch.device,
        after: Sequence[Snapshot | None],
        progress: ProgressCounter | None = None,
    ) -> None:
        """`after`: the snapshot that each job resumes from, or None."""
        self._progress = ProgressCounter() if progress is None else progress  # a shared counter at 0 is falsy
        self._jobs, self._data, self._device = list(jobs), data, device
        begun = list(zip(jobs, after, strict=True))
        states = [initial_state(job.graph, job.spec.seed) if at is None else at.weights for job, at in begun]
        bf16_matmul = jobs[0].spec.precision == "bfloat16"
        self.array = NetworkArray([job.graph for job in jobs], states, device, bf16_matmul)
        self._x, self._y = self._tensors(data.train)
        self._weight = None if data.train.weight is None else torch.tensor(data.train.weight, device=device)
        self._validation = self._tensors(data.validation)
        # The number of rows in a product may change the bits, so it must not depend on the number of members.
        self._chunk = max(64, CHUNK_VALUES // jobs[0].graph.widest)
        self._optimizer = optimizers.of([job.spec.optimizer for job in jobs], self.array.decayed)
        self._optimizer.resume([0 if at is None else at.steps for at in after])
        for member, at in enumerate(after):
            if at is not None:
                self._restore(member, at)
        self._prepare()

    def _restore(self, member: int, at: Snapshot) -> None:
        if at.best is not None:
            self.array.load_best(member, at.best)
        if at.optimizer:
            for name, matrix in self._optimizer.moments().items():
                for key, values in self.array.named(matrix).items():
                    values[member] = at.optimizer[f"{name}.{key}"]

    def snapshot(self, member: int, epoch: int, best_epoch: int) -> Snapshot:
        """A copy of the member's state at the end of `epoch`."""
        best = None if best_epoch in (0, epoch) else self.array.best_state(member)
        moments = {
            f"{name}.{key}": values[member].cpu().clone(memory_format=torch.contiguous_format)
            for name, matrix in self._optimizer.moments().items()
            for key, values in self.array.named(matrix).items()
        }
        return Snapshot(epoch, self._optimizer.steps(member), best_epoch, self.array.state(member), best, moments)

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order; the others' weights are dropped."""
        self._jobs = [self._jobs[member] for member in members]
        self.array.keep(members)
        self._optimizer.keep(members)
        self._prepare()

    def epoch(self, epochs: Sequence[int], rates: Sequence[float]) -> list[EpochMetrics]:
        """Train each member for one epoch at its learning rate, then evaluate it on the validation rows."""
        train_losses = self._fit(epochs, rates)
        if not len(self._validation[0]):
            return [EpochMetrics(loss, None, {}) for loss in train_losses]
        scores = self._score(self.array, *self._validation)
        return [_measured(loss, *score) for loss, score in zip(train_losses, scores, strict=True)]

    def test(self, member: int) -> metrics.Metrics | None:
        """Loss and metrics of the member's best weights on the test rows; None without test rows."""
        if not len(self._data.test.x):
            return None
        best = NetworkArray([self._jobs[member].graph], [self.array.best_state(member)], self._device)
        ((loss, scores),) = self._score(best, *self._tensors(self._data.test))
        return {"loss": loss if isfinite(loss) else None, **scores}

    def _prepare(self) -> None:
        """Create what depends on the members."""
        specs = [job.spec for job in self._jobs]
        loss = losses.of(specs, self._y, self.array.outputs)
        clip = optimizers.Clipping([spec.optimizer for spec in specs], self.array.gradient)
        self._step = TrainingStep(self.array, loss, clip, self._optimizer)

    def _tensors(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N, padded inputs) float32 and (N,) on the device."""
        x = self.array.pad(torch.tensor(rows.x, device=self._device))
        return x, torch.tensor(rows.y, device=self._device)

    @torch.inference_mode()
    def _fit(self, epochs: Sequence[int], rates: Sequence[float]) -> list[float]:
        """Train on all rows once, each member in its own order; returns the mean training losses."""
        seeds, size, rows = [job.spec.seed for job in self._jobs], self._jobs[0].batch_rows, len(self._x)
        pairs = list(zip(seeds, epochs, strict=True))
        self.array.draw_dropout_from([_generator("dropout", *pair, self._device) for pair in pairs])
        order = torch.stack([self._order(*pair) for pair in pairs]).to(self._device)
        self._step.set_rates(list(rates))
        # Sum by position in the batch first: the bits of a sum over few numbers may depend on the number of members.
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
        """(N,) the order of the training rows for a member in an epoch."""
        rows = len(self._x)
        return torch.arange(rows) if self._jobs[0].spec.batch_size == "full" else row_order(seed, epoch, rows)

    def _batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        """The batches of an epoch; order: (K, N). Gathers many full batches at once."""
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
        """The batches of the row numbers `taken` (steps, K, B)."""
        numbers = taken.reshape(-1)
        x = self._x.index_select(0, numbers).view(*taken.shape, -1)
        y = self._y.index_select(0, numbers).view(taken.shape)
        if self._weight is None:
            return map(Batch, x, y)
        return map(Batch, x, y, self._weight.index_select(0, numbers).view(taken.shape))

    @torch.inference_mode()
    def _score(self, array: NetworkArray, x: Tensor, y: Tensor) -> list[tuple[float, metrics.Metrics]]:
        """(loss, metrics) of each member in evaluation mode, without label smoothing and class weights.

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
    """The rows of each batch; a last batch of one row joins the one before it, because batch norm needs two."""
    start = 0
    while start < rows:
        end = start + size
        if size > 1 and rows - end == 1:
            end = rows
        yield slice(start, end)
        start = end


def row_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The shuffled order of the training rows in an epoch: (rows,) int64."""
    return torch.randperm(rows, generator=_generator("rows", seed, epoch))


def _generator(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> Generator:
    """A generator seeded by (seed, epoch), so that no generator state must be saved."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return Generator(device).manual_seed(int.from_bytes(digest, "big"))
