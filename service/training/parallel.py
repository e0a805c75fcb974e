"""Trains one job on several devices, data parallel: each rank takes its rows of every batch.

All ranks have the whole network and all rows. The leader decides, measures and records; the others follow: they take
part in each epoch, and in collecting the optimizer's moments for a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from service.training.array import NetworkArray
from service.training.epoch import ArrayTrainer
from service.training.losses import BatchLoss, Loss
from service.training.partial_epoch import never
from service.training.row_sets import Span, chunk_sizes
from service.training.scoring import EpochMetrics, Score, scores
from service.training.sharded_optimizer import ShardedOptimizer

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared
    from service.spec.resolve import Resolved
    from service.training.progress import ProgressCounter
    from service.training.ranks import Ranks
    from service.training.snapshot import Snapshot
    from service.training.weights import State, Weights


class ShareOfLoss:
    """The loss of this rank's rows of a batch; its gradient is a summand of the whole batch's gradient."""

    def __init__(self, loss: Loss, ranks: Ranks) -> None:
        self._loss, self._ranks = loss, ranks
        self._batches: Iterator[int] = iter(())

    def begin(self, batches: Sequence[int]) -> None:
        """Start an epoch; `batches`: the rows of each whole batch."""
        self._batches = iter(batches)

    def __call__(self, outputs: Tensor, y: Tensor, weight: Tensor | None = None) -> BatchLoss:
        """See Loss; of the rows of this rank."""
        loss, rows = self._loss(outputs, y, weight), next(self._batches)
        if isinstance(loss.weight, Tensor):
            share: Tensor | float = (loss.weight / self._ranks.sum(loss.weight)).view(-1, 1, 1)
        else:
            share = loss.weight / rows
        return loss._replace(gradient=loss.gradient * share)


class ParallelTrainer(ArrayTrainer):
    """Trains this rank's share of a job: an array of one member."""

    def __init__(
        self,
        job: Resolved,
        data: Prepared,
        device: torch.device,
        ranks: Ranks,
        after: Snapshot | None = None,
        progress: ProgressCounter | None = None,
    ) -> None:
        """`after`: the snapshot that the leader resumes from; it gives it to the others."""
        self._ranks, self._dropout = ranks, f"dropout/{ranks.rank}"
        super().__init__([job], [data], device, [after], progress)
        self._copy_from_leader(after)

    def epoch(
        self, epochs: Sequence[int], rates: Sequence[Sequence[float]], interrupt: Callable[[], bool] = never
    ) -> list[EpochMetrics] | None:
        """See ArrayTrainer; the leader's measures are of all rows. Nothing interrupts an epoch of several ranks."""
        if self._ranks.leads:
            self._ranks.tell({"epoch": epochs[0], "rates": list(rates[0])})
        self._shared_loss.begin(self._whole_batches)
        return super().epoch(epochs, rates, never)

    def follow(self, waiting: Callable[[], None]) -> None:
        """Do what the leader says until training ends; `waiting` is called now and then meanwhile. Raises RankLost."""
        while (message := self._ranks.hear(waiting)) is not None:
            if "epoch" in message:
                self.epoch([message["epoch"]], [message["rates"]])
            else:
                self._sharded.all_moments()

    def evaluate(self, array: NetworkArray) -> list[Score | None]:
        """See ArrayTrainer; each rank computes the outputs of its part of the rows, and the leader the score."""
        rows = self._validation.sizes[0]
        if not rows:
            return [None]
        outputs = self._ranks.rows_for_leader(*self._own_outputs(array, rows))
        if outputs is None:
            return [None]
        y, target = self._validation.targets(slice(0, 1))[0], self._data[0].preprocessing.target
        return [*scores([self._jobs[0].spec], outputs.unsqueeze(0), y, target)]

    @torch.inference_mode()
    def _own_outputs(self, array: NetworkArray, rows: int) -> tuple[Tensor, list[int]]:
        """(own rows, outputs) in evaluation mode, and the number of rows of each rank: whole chunks, as of one rank."""
        chunks = chunk_sizes(rows, self._chunk)
        ends = [len(chunks) * rank // self._ranks.size for rank in range(self._ranks.size + 1)]
        starts = list(accumulate(chunks, initial=0))
        first, end = ends[self._ranks.rank : self._ranks.rank + 2]
        made = []
        for start, stop in pairwise(starts[first : end + 1]):
            self._progress.value += 1
            x, codes = self._validation.inputs(Span(0, 1, start, stop - start), 0)
            made.append(array.forward(x, training=False, codes=codes)[0, :, : array.outputs])
        nothing = torch.empty(0, array.outputs, device=self._device)
        return torch.cat([nothing, *made]), [starts[end] - starts[start] for start, end in pairwise(ends)]

    def _network(self, states: Sequence[State]) -> NetworkArray:
        parallel = self._jobs[0].spec.parallel
        assert parallel is not None
        self._synchronized = parallel.batch_norm == "synchronized"
        array = super()._network(states)
        places = self._ranks.place(array.parameters.shape[1])
        self._gradients = None if places is None else places[1]
        if places is not None:
            if self._ranks.leads:
                places[0].copy_(array.parameters)
            array = array.placed(places[0], places[1][self._ranks.rank :][:1])
        return array.synchronized(self._ranks.sum) if self._synchronized else array

    def _new_optimizer(self) -> ShardedOptimizer:
        self._sharded = ShardedOptimizer(self._jobs[0].spec.optimizer, self.array, self._ranks, self._gradients)
        return self._sharded

    def _moments(self) -> dict[str, Tensor]:
        if self._ranks.leads:
            self._ranks.tell({"moments": True})
        return self._sharded.all_moments()

    def _restore(self, member: int, at: Snapshot) -> None:
        self.array.load_best(member, at.best_weights)

    def _copy_from_leader(self, after: Snapshot | None) -> None:
        """Give the leader's weights and optimizer to the others."""
        self._copy_weights(self.array.weights)
        if self._average is not None:
            self._copy_weights(self._average.weights)
        steps = torch.tensor([self._optimizer.steps(0)], device=self._device)
        self._ranks.copy_from_leader(steps)
        self._optimizer.resume(steps.tolist())
        for name, own in self._optimizer.moments().items():
            matrix = torch.zeros_like(self.array.parameters)
            if after is not None and after.optimizer:
                for key, values in self.array.named(matrix).items():
                    values[0] = after.optimizer[f"{name}.{key}"]
            self._ranks.copy_from_leader(matrix)
            own.copy_(matrix[:, self._sharded.own])

    def _copy_weights(self, weights: Weights) -> None:
        for values in weights.tensors:
            if self._gradients is None or values is not self.array.parameters:  # which the ranks share
                self._ranks.copy_from_leader(values)

    def _batch_sizes(self) -> list[Sequence[int]]:
        (whole,) = super()._batch_sizes()
        self._whole_batches = whole
        return [[own.stop - own.start for own in map(self._ranks.own_rows, whole)]]

    def _batch_positions(self) -> list[int]:
        return [max(self._batch_sizes()[0])]

    def _order(self, pair: tuple[int, int], rows: int) -> Tensor:
        """The training rows of this rank, batch by batch."""
        order = torch.split(super()._order(pair, rows), list(self._whole_batches))
        return torch.cat([batch[self._ranks.own_rows(len(batch))] for batch in order])

    def _loss(self, members: slice) -> Loss:
        self._shared_loss = ShareOfLoss(super()._loss(members), self._ranks)
        return self._shared_loss

    def _means(self, sums: Tensor, weight: Tensor | None) -> list[float]:
        """See ArrayTrainer; also the end of an epoch's steps: the mean of the ranks' running statistics."""
        if not self._synchronized:
            self._average_statistics(self.array.weights)
            if self._average is not None:
                self._average_statistics(self._average.weights)
        total = self._ranks.sum(sums)
        return super()._means(total, None if weight is None else self._ranks.sum(weight))

    def _average_statistics(self, weights: Weights) -> None:
        for values in weights.buffers.values():
            if values.is_floating_point():
                values.copy_(self._ranks.sum(values) / self._ranks.size)
