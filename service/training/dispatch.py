"""Runs the operators of a graph: forward in order, backward in reverse, gradients summed where edges meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from torch import Tensor

from service.spec.graph import BLOCKS, NUMBERS, Graph
from service.training.operators.base import MergeOperator, Operator, Trained


class _Step(NamedTuple):
    """One node. Values are kept in a list, first the blocks, then each node's output."""

    forward: Callable[[Tensor, bool], Tensor] | None  # of an operator with one input
    merge: MergeOperator | None  # an operator with any number of inputs
    backward: Callable[[Tensor], Tensor] | None
    parameters_only: Callable[[Tensor], None] | None  # nothing before the node is trained
    inputs: tuple[int, ...]
    output: int
    wanted: tuple[bool, ...]  # the inputs whose gradient is needed
    last_use: tuple[int, ...]  # values that no later node takes


class Dispatch:
    """The operators of a graph in order, with what each reads, writes and may free."""

    def __init__(self, graph: Graph, operators: Sequence[Operator | MergeOperator]) -> None:
        places = {name: place for place, name in enumerate((*BLOCKS, *(node.name for node in graph.nodes)))}
        self._values = len(places)
        trained = [False] * len(places)
        last_reader = dict.fromkeys(places.values(), -1)
        for node in graph.nodes:
            inputs = tuple(places[name] for name in node.inputs)
            trained[places[node.name]] = node.layer.parameters > 0 or any(trained[place] for place in inputs)
            last_reader.update(dict.fromkeys(inputs, places[node.name]))
        self._forward: list[_Step] = []
        for node, operator in zip(graph.nodes, operators, strict=True):
            output = places[node.name]
            inputs = tuple(places[name] for name in node.inputs)
            wanted = tuple(trained[place] for place in inputs)
            last_use = tuple({place for place in inputs if last_reader[place] == output})
            self._forward.append(_step(operator, inputs, output, wanted, last_use))
        self._backward = [step for step in reversed(self._forward) if trained[step.output]]
        self._numbers = places[NUMBERS]

    def forward(self, numbers: Tensor, codes: Tensor | None, training: bool) -> Tensor:
        """The last node's value; numbers: (K, B, padded inputs), codes: (K, B, coded columns)."""
        values: list[Tensor | None] = [numbers, codes, *[None] * len(self._forward)]
        for step in self._forward:
            if step.forward is not None:
                values[step.output] = step.forward(cast(Tensor, values[step.inputs[0]]), training)
            else:
                inputs = [cast(Tensor, values[place]) for place in step.inputs]
                values[step.output] = cast(MergeOperator, step.merge).merge(inputs, training)
            for place in step.last_use:
                values[place] = None
        return cast(Tensor, values[-1])

    def backward(self, grad: Tensor) -> None:
        """Compute all parameters' gradients after a training forward pass; grad: of the last node's value."""
        grads: list[Tensor | None] = [None] * self._values
        grads[-1] = grad
        for step in self._backward:
            own = cast(Tensor, grads[step.output])
            grads[step.output] = None
            if step.parameters_only is not None:
                step.parameters_only(own)
            elif step.backward is not None:
                _collect(grads, step.inputs[0], step.backward(own))
            else:
                found = cast(MergeOperator, step.merge).split(own, step.wanted)
                for place, each in zip(step.inputs, found, strict=True):
                    if each is not None:
                        _collect(grads, place, each)


def _collect(grads: list[Tensor | None], place: int, grad: Tensor) -> None:
    """Add a gradient to a value's; never in place, because two edges may carry the same tensor."""
    before = grads[place]
    grads[place] = grad if before is None else before + grad


def _step(
    operator: Operator | MergeOperator,
    inputs: tuple[int, ...],
    output: int,
    wanted: tuple[bool, ...],
    last_use: tuple[int, ...],
) -> _Step:
    if isinstance(operator, MergeOperator):
        return _Step(None, operator, None, None, inputs, output, wanted, last_use)
    only = operator.backward_parameters if isinstance(operator, Trained) and not any(wanted) else None
    return _Step(operator.forward, None, operator.backward, only, inputs, output, wanted, last_use)
