"""Any torch module as an operator: member by member, by PyTorch's autograd.

Each member has its own copy of the module, whose parameters are views into the array's matrix: then a member's bits
cannot depend on the others. Slower than a gradient written by hand, by half for one network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from service.engine_constants import padded
from service.training.models import module_of

if TYPE_CHECKING:
    from torch import nn

    from service.spec.layers import Layer
    from service.training.operators.base import Slots


class Autograd:
    """A layer of K networks whose gradient PyTorch computes.

    Inputs and output of flat layers are padded in the array; the module sees them without padding.
    """

    def __init__(self, slots: Slots) -> None:
        layer, parameters = slots.layer, slots.parameters
        self._layer: Layer = layer
        # Of each flat input, without padding; None for others.
        self._widths = [shape[0] if len(shape) == 1 else None for shape in slots.input_shapes]
        self._modules: list[nn.Module] = []
        self._leaves: list[list[Tensor]] = []
        self._grads = [each.grad[member] for member in range(len(slots.layers)) for each in parameters.values()]
        for member, layer in enumerate(slots.layers):
            leaves = {name: each.value[member].detach().requires_grad_() for name, each in parameters.items()}
            # A scalar is the number of batches, which the array counts: the module counts on a copy.
            own = {name: x[member] if x.ndim > 1 else x[member].clone() for name, x in slots.buffers.items()}
            self._modules.append(_bound(layer, leaves, own))
            self._leaves.append(list(leaves.values()))
        self.generators: list[Generator] = []
        self._inputs: list[list[Tensor]]
        self._outputs: list[Tensor]

    def merge(self, inputs: Sequence[Tensor], training: bool) -> Tensor:
        """See MergeOperator."""
        members = list(zip(*map(self._cropped, inputs, self._widths), strict=True))
        for module in self._modules:
            module.train(training)
        if not training:
            with torch.no_grad():
                # Copies: kernels of matrix products may depend on the address of a member's values.
                copies = [[x.clone() for x in each] for each in members]
                return self._padded([module(*each) for module, each in zip(self._modules, copies, strict=True)])
        with torch.inference_mode(False), torch.enable_grad():
            # Copies: a tensor made in inference mode cannot be saved for the backward pass.
            self._inputs = [[x.clone().requires_grad_(x.is_floating_point()) for x in each] for each in members]
            self._outputs = []
            for place, (module, each) in enumerate(zip(self._modules, self._inputs, strict=True)):
                with self._generator_of(place):
                    self._outputs.append(module(*each))
        return self._padded([output.detach() for output in self._outputs])

    def split(self, grad: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        """See MergeOperator."""
        values = self._layer.outputs
        own = grad[..., :values] if len(self._layer.output_shape) == 1 else grad
        asked = [[x for x, each in zip(xs, wanted, strict=True) if each] for xs in self._inputs]
        with torch.inference_mode(False):
            grads = [each.clone() for each in own]
            flat = [x for xs in asked for x in xs]
            leaves = [leaf for each in self._leaves for leaf in each]
            found = torch.autograd.grad(self._outputs, [*flat, *leaves], grads)
        if self._grads:
            torch._foreach_copy_(self._grads, list(found[len(flat) :]))
        self._outputs, self._inputs = [], []
        return self._input_gradients(found[: len(flat)], wanted)

    def _input_gradients(self, found: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
        count = sum(wanted)
        gradients: list[Tensor | None] = []
        for place, each in enumerate(wanted):
            position = sum(wanted[:place])
            of_members = [found[member * count + position] for member in range(len(self._modules))] if each else []
            gradients.append(_stacked(of_members, self._widths[place]) if each else None)
        return gradients

    def _padded(self, outputs: list[Tensor]) -> Tensor:
        return _stacked(outputs, self._layer.outputs if len(self._layer.output_shape) == 1 else None)

    def _cropped(self, x: Tensor, width: int | None) -> Tensor:
        return x if width is None else x[..., :width]

    @contextmanager
    def _generator_of(self, member: int) -> Iterator[None]:
        """Random numbers come from the member's own generator, which advances."""
        if not self.generators:
            yield
            return
        own = self.generators[member]
        on_gpu = own.device.type == "cuda"
        generator = torch.cuda.default_generators[own.device.index or 0] if on_gpu else torch.default_generator
        before = generator.get_state()
        generator.set_state(own.get_state())
        try:
            yield
        finally:
            own.set_state(generator.get_state())
            generator.set_state(before)


def _bound(layer: Layer, leaves: dict[str, Tensor], buffers: dict[str, Tensor]) -> nn.Module:
    """The layer's module with these tensors as parameters and buffers."""
    with torch.device("meta"):
        module = module_of(layer)
    for name, leaf in leaves.items():
        place, _, last = name.rpartition(".")
        module.get_submodule(place)._parameters[last] = leaf  # type: ignore[assignment]
    for name, buffer in buffers.items():
        place, _, last = name.rpartition(".")
        module.get_submodule(place)._buffers[last] = buffer
    return module


def _stacked(members: list[Tensor], width: int | None) -> Tensor:
    """(B, ...) of each member -> (K, B, ...), flat values padded; aligned to 64 bytes."""
    if width is None or padded(width) == width:
        return torch.stack(members)
    whole = members[0].new_zeros(len(members), members[0].shape[0], padded(width))
    for place, values in zip(whole, members, strict=True):
        place[..., :width] = values
    return whole
