"""One epoch of an array of jobs: training steps, then evaluation on the validation rows; scoring of test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from service.spec.averaging import Ema
from service.spec.resolve import Resolved
from service.training import losses, optimizers, schedules
from service.training.array import NetworkArray
from service.training.averaging import Average
from service.training.ensemble import MeanOfHeads
from service.training.evaluation import groups_on_the_same_rows, outputs_of
from service.training.generators import generator, row_order
from service.training.losses import Loss
from service.training.member_order import batch_size
from service.training.models import initial_state
from service.training.partial_epoch import LossSums, never, restore
from service.training.progress import ProgressCounter
from service.training.row_order import FullOrders, Orders, WindowedOrders
from service.training.row_sets import MemberRows, Span, batch_sizes, stages
from service.training.scoring import BestEvaluation, EpochMetrics, Score, measured, scores
from service.training.snapshot import Snapshot
from service.training.step import Batch, TrainingStep
from service.training.step_values import StepValues, values_of
from service.training.weights import State

if TYPE_CHECKING:
    from service.data.preprocess.dataset import Prepared, Rows

CHUNK_VALUES = 2**16  # of a member in the widest layer, per step of evaluation: 256 KiB


class ArrayTrainer:
    """Trains jobs with the same layer shapes as one array; each member has its own rows, on the device."""

    _dropout = "dropout"  # purpose of its generator

    def __init__(
        self,
        jobs: Sequence[Resolved],
        data: Sequence[Prepared],
        device: torch.device,
        after: Sequence[Snapshot | None],
        progress: ProgressCounter | None = None,
    ) -> None:
        """`data`: each member's rows. `after`: the snapshot that each job resumes from, or None.

        Members are fastest in the order of `array_order`; their bits do not depend on it.
        """
        self._progress = ProgressCounter() if progress is None else progress  # a shared counter at 0 is falsy
        self._jobs, self._data, self._device = list(jobs), list(data), device
        begun = list(zip(jobs, after, strict=True))
        states = [initial_state(job.graph, job.spec.seed) if at is None else at.weights for job, at in begun]
        self.array = self._network(states)
        self._train = self._rows([each.train for each in data])
        self._validation = self._rows([each.validation for each in data])
        # The number of rows in a product may change the bits, so it must not depend on the number of members.
        self._chunk = max(64, CHUNK_VALUES // jobs[0].graph.widest)
        self._optimizer = self._new_optimizer()
        self._optimizer.resume([0 if at is None else at.steps for at in after])
        for member, at in enumerate(after):
            if at is not None:
                self._restore(member, at)
        self._begun: list[Any] = [None if at is None else at.partial for at in after]  # within an epoch, or None
        averages = [None if at is None else at.average for at in after]
        specs = [job.spec for job in jobs]
        self._average = Average(specs, self.array, averages) if specs[0].averaging is not None else None
        self._prepare()

    def _network(self, states: Sequence[State]) -> NetworkArray:
        bf16_matmul = self._jobs[0].spec.precision == "bfloat16"
        return NetworkArray([job.graph for job in self._jobs], states, self._device, bf16_matmul)

    def _new_optimizer(self) -> optimizers.Optimizer:
        settings = [job.spec.optimizer for job in self._jobs]
        return optimizers.of(settings, self.array.decayed, self.array.rate_factors(settings[0].rates))

    def _moments(self) -> dict[str, Tensor]:
        """The optimizer's moments, (K, P) each."""
        return self._optimizer.moments()

    def _restore(self, member: int, at: Snapshot) -> None:
        self.array.load_best(member, at.best_weights)
        if at.optimizer:
            for name, matrix in self._moments().items():
                for key, values in self.array.named(matrix).items():
                    values[member] = at.optimizer[f"{name}.{key}"]

    @property
    def interrupted(self) -> bool:
        """Whether members are within an epoch, which the next call of `epoch` ends."""
        return any(part is not None for part in self._begun)

    def snapshot(self, member: int, epoch: int, best_epoch: int, seconds: float) -> Snapshot:
        """A copy of the member's state at the end of `epoch`, or within the next one, after `seconds` of it."""
        begun = self._begun[member] and replace(self._begun[member], seconds=seconds)
        is_current = best_epoch == epoch and begun is None
        best = None if best_epoch == 0 or is_current else self.array.best_state(member)
        moments = {
            f"{name}.{key}": values[member].cpu().clone(memory_format=torch.contiguous_format)
            for name, matrix in self._moments().items()
            for key, values in self.array.named(matrix).items()
        }
        average = None if self._average is None else self._average.weights.state(member)
        weights = self.array.state(member)
        return Snapshot(epoch, self._optimizer.steps(member), best_epoch, weights, best, moments, average, begun)

    def keep(self, members: Sequence[int]) -> None:
        """Keep only these members, in this order; the others' weights are dropped."""
        self._jobs = [self._jobs[member] for member in members]
        self._data = [self._data[member] for member in members]
        self._begun = [self._begun[member] for member in members]
        self._train.keep(members)
        self._validation.keep(members)
        self.array.keep(members)
        self._optimizer.keep(members)
        if self._average is not None:
            self._average.keep(members)
        self._prepare()

    def epoch(
        self, epochs: Sequence[int], rates: Sequence[Sequence[float]], interrupt: Callable[[], bool] = never
    ) -> list[EpochMetrics] | None:
        """Train each member for one epoch, then evaluate it on its validation rows; or what is left of the epoch.

        `rates`: each member's learning rate for all steps, or for each of its steps (`step_counts`). `interrupt` is
        asked after each step: None if it says so, and the next call goes on from there.
        """
        train_losses = self._fit(epochs, rates, interrupt)
        if train_losses is None:
            return None
        return [measured(*each) for each in zip(train_losses, self.evaluate(self._evaluated), strict=True)]

    def keep_best(self, members: Sequence[int]) -> None:
        """Copy the weights of these members, as they are evaluated, as their best."""
        self.array.keep_best(members, self._evaluated.weights)

    def state(self, member: int) -> State:
        """A copy of the member's weights as they are evaluated, on the CPU."""
        return self._evaluated.weights.state(member)

    @property
    def _evaluated(self) -> NetworkArray:
        """The networks with averaged weights, if there are any."""
        return self.array if self._average is None else self._average.array

    def evaluate(self, array: NetworkArray) -> list[Score | None]:
        """Scores of the weights in `array` on each member's validation rows; None for a member without any."""
        return self._score(array, self._validation, range(len(self._jobs)))

    @torch.inference_mode()
    def evaluate_best(self, members: Sequence[int]) -> list[BestEvaluation]:
        """Evaluate the best weights of these members, which have the same rows, on validation and test rows.

        In float32 whatever the precision of training, as a checkpoint predicts.
        """
        data, jobs = self._data[members[0]], [self._jobs[member] for member in members]
        states = [self.array.best_state(member) for member in members]
        best = NetworkArray([job.graph for job in jobs], states, self._device)
        nothing = torch.empty(len(members), 0, best.outputs)
        made = partial(outputs_of, best, chunk=self._chunk, progress=self._progress)
        _, validation = next(made(self._validation.only(members)), (None, nothing))
        rows = self._rows([data.test] * len(members))
        _, test = next(made(rows), (None, nothing))
        measured: list[Score | None] = [None] * len(members)
        if rows.sizes[0]:
            y, target = rows.targets(slice(0, 1))[0], data.preprocessing.target
            measured = [*scores([job.spec for job in jobs], test, y, target)]
        return [BestEvaluation(*each) for each in zip(validation.cpu(), test.cpu(), measured, strict=True)]

    def evaluated_together(self, members: Sequence[int]) -> Iterator[Sequence[int]]:
        """Groups of these members for `evaluate_best`: those on the same rows, as many as memory allows."""
        return groups_on_the_same_rows(self._data, members, self.array.outputs)

    def _rows(self, sets: Sequence[Rows]) -> MemberRows:
        return MemberRows(sets, self._device, streamed=self._jobs[0].window_rows is not None)

    def _prepare(self) -> None:
        """Create what depends on the members."""
        self._sizes = self._batch_sizes()
        self.step_counts = list(map(len, self._sizes))
        self._taken = [0 if part is None else part.step for part in self._begun]
        self._stages = stages([each[taken:] for each, taken in zip(self._sizes, self._taken, strict=True)])
        self._positions = self._batch_positions()
        self._values = StepValues(3, len(self._jobs), self._device)
        spans = {(span.first, span.end): span.members for stage in self._stages for span in stage.spans}
        self._steps = {bounds: self._step(members) for bounds, members in spans.items()}

    def _batch_sizes(self) -> list[Sequence[int]]:
        """The rows of each batch of each member."""
        sizes = zip(self._jobs, self._train.sizes, strict=True)
        return [batch_sizes(rows, batch_size(job, rows), job.spec.least_batch_rows) for job, rows in sizes]

    def _batch_positions(self) -> list[int]:
        """The lengths of sums over a batch: bits depend on them, so they must not depend on other members."""
        sizes = zip(self._jobs, self._train.sizes, strict=True)
        return [min(batch_size(job, rows) + 1, rows) for job, rows in sizes]

    def _loss(self, members: slice) -> Loss:
        """The loss of neighbouring members."""
        specs = [job.spec for job in self._jobs[members]]
        loss = losses.of(specs, self._train.targets(members), self.array.outputs)
        heads = self.array.graph.heads
        return MeanOfHeads(loss, heads) if heads > 1 else loss

    def _step(self, members: slice) -> TrainingStep:
        """The training step of neighbouring members, on their part of the array."""
        array, specs = self.array.part(members), [job.spec for job in self._jobs[members]]
        clip = optimizers.Clipping([spec.optimizer for spec in specs], array.gradient)
        rates, decay, share = self._values.tensors[:, members]
        optimizer, average = self._optimizer.part(members), None
        if self._average is not None and isinstance(specs[0].averaging, Ema):
            average = self._average.weights.part(members), share
        scheduled = schedules.schedules_decay(specs[0].optimizer)
        return TrainingStep(array, self._loss(members), clip, optimizer, rates, decay if scheduled else None, average)

    @torch.inference_mode()
    def _fit(
        self, epochs: Sequence[int], rates: Sequence[Sequence[float]], interrupt: Callable[[], bool]
    ) -> list[float] | None:
        """Train each member on all of its rows once, in its own order; the mean losses, None if interrupted."""
        pairs = [(job.spec.seed, epoch) for job, epoch in zip(self._jobs, epochs, strict=True)]
        generators = [generator(self._dropout, *pair, self._device) for pair in pairs]
        for own, part in zip(generators, self._begun, strict=True):
            restore(own, part)
        for (first, end), step in self._steps.items():
            step.array.draw_dropout_from(generators[first:end])
        self._values.begin(values_of(self._jobs, epochs, rates, self.step_counts, self._taken))
        orders = self._orders(pairs)
        before, done = [self._optimizer.steps(member) for member in range(len(pairs))], 0
        sums = LossSums(self._positions, self._begun, self._device)
        for batch in self._batches(orders):
            self._optimizer.advance()
            self._values.advance()
            self._progress.value += 1
            done += 1
            for span, rows in batch:
                sums.add(span, self._steps[span.first, span.end](rows))
            if interrupt():
                taken = self._count_steps(before, done)
                self._begun = [*sums.interrupted(taken, generators if self.array.draws else None)]
                self._prepare()
                return None
        self._count_steps(before, done)
        if self.interrupted:  # the epoch's end: the next ones are whole
            self._begun = [None] * len(pairs)
            self._prepare()
            orders = self._orders(pairs)
        if self._average is not None:
            self._average.end_epoch(epochs, self._stages, self._train, orders, self._progress)
        return self._means(*sums.totals())

    def _batches(self, orders: Orders) -> Iterator[list[tuple[Span, Batch]]]:
        """The batches of each step that is left of the epoch."""
        for stage in self._stages:
            for batch in zip(*(self._train.batches(span, stage.steps, orders) for span in stage.spans), strict=True):
                yield list(zip(stage.spans, batch, strict=True))

    def _means(self, sums: Tensor, weight: Tensor | None) -> list[float]:
        """Mean training losses; sums: (K,) of the losses of all rows; weight: (K,) their divisor, None: the rows."""
        rows = torch.tensor(self._train.sizes, dtype=torch.float64, device=self._device)
        means: list[float] = (sums / (rows if weight is None else weight)).tolist()
        return means

    def _count_steps(self, before: Sequence[int], done: int) -> list[int]:
        """Correct the optimizer's steps of members that have taken fewer than `done`; steps of the epoch of each."""
        own = [min(done, count - taken) for count, taken in zip(self.step_counts, self._taken, strict=True)]
        if len({*own, done}) > 1:
            self._optimizer.resume([steps + more for steps, more in zip(before, own, strict=True)])
        return [taken + more for taken, more in zip(self._taken, own, strict=True)]

    def _orders(self, pairs: Sequence[tuple[int, int]]) -> Orders:
        """The order of what is left of each member's training rows; `pairs`: seed and epoch of each."""
        train, window = self._train, self._jobs[0].window_rows
        skipped = [sum(sizes[:taken]) for sizes, taken in zip(self._sizes, self._taken, strict=True)]
        if window is not None:
            return WindowedOrders(pairs, train.sizes, skipped, train.pages, window)
        orders = (self._order(*each) for each in zip(pairs, train.sizes, strict=True))
        return FullOrders(train.numbered([order[taken:] for order, taken in zip(orders, skipped, strict=True)]))

    def _order(self, pair: tuple[int, int], rows: int) -> Tensor:
        """(N,) the order of a member's training rows in memory; `pair`: seed and epoch."""
        return torch.arange(rows) if self._jobs[0].spec.batch_size == "full" else row_order(*pair, rows)

    @torch.inference_mode()
    def _score(self, array: NetworkArray, rows: MemberRows, places: Sequence[int]) -> list[Score | None]:
        """The score of each network of `array` in evaluation mode; `places`: of their jobs."""
        found: list[Score | None] = [None] * len(rows.sizes)
        for members, outputs in outputs_of(array, rows, self._chunk, self._progress):
            specs = [self._jobs[place].spec for place in places[members]]
            y, target = rows.targets(members)[0], self._data[places[members.start]].preprocessing.target
            found[members] = scores(specs, outputs, y, target)
        return found
