"""The operator of each layer: one written by hand where there is one, else PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.spec import layers as spec
from service.spec.layers import Layer
from service.training.operators import ensemble, flat, images, large, large_images, merge, tabular
from service.training.operators.autograd import Autograd
from service.training.operators.base import MergeOperator, Operator, Slots
from service.training.operators.synchronized import SynchronizedBatchNorm


class Fast(NamedTuple):
    """An operator written by hand."""

    make: Callable[[Slots], Operator | MergeOperator]
    unpadded: int | Mapping[str, int] = 0
    """How many leading dimensions of its parameters are not padded, where the layer is flat; of each, or by name."""

    def unpadded_of(self, parameter: str) -> int:
        """How many leading dimensions of a parameter of a flat layer are not padded."""
        return self.unpadded if isinstance(self.unpadded, int) else self.unpadded.get(parameter, 0)


def _batch_norm(slots: Slots) -> Operator:
    norm = flat.BatchNorm if len(slots.layer.shape) == 1 else images.ChannelNorm
    return norm(*slots.pair, slots.buffers["running_mean"], slots.buffers["running_var"], slots.layer)


FAST: dict[type[Layer], Fast] = {
    spec.Linear: Fast(lambda x: flat.Linear(*x.pair, frozen_bias=x.frozen_bias, bf16_matmul=x.bf16_matmul)),
    spec.Convolution: Fast(lambda x: images.Convolution(*x.pair, x.frozen_bias, x.bf16_matmul, x.layer)),
    spec.BatchNorm: Fast(_batch_norm),
    spec.LayerNorm: Fast(lambda x: flat.LayerNorm(*x.pair, x.layer)),
    spec.Pool: Fast(lambda x: images.Pool(x.layer)),
    spec.Flatten: Fast(lambda x: images.Flatten(x.layer.shape)),
    spec.Unflatten: Fast(lambda x: images.Unflatten(x.layer.output_shape)),
    spec.Activate: Fast(lambda x: flat.Activate(x.layer.function, x.layer.shape)),
    spec.Dropout: Fast(lambda x: flat.Dropout([layer.p for layer in x.layers])),
    spec.Add: Fast(lambda x: merge.Add()),
    spec.Concat: Fast(lambda x: merge.Concat(x.layer.widths)),
    spec.EnsembleInput: Fast(lambda x: ensemble.EnsembleInput(x.parameters["weight"]), unpadded=1),
    spec.EnsembleLinear: Fast(ensemble.EnsembleLinear, unpadded={"scale_in": 1, "scale_out": 1, "bias": 1}),
    spec.EnsembleOutput: Fast(
        lambda x: ensemble.EnsembleOutput(*x.pair, x.layer, bf16_matmul=x.bf16_matmul), unpadded=2
    ),
    spec.Embedding: Fast(lambda x: tabular.Embedding(x.parameters["weight"], x.layer)),
    spec.Scaling: Fast(lambda x: tabular.Scaling(x.parameters["weight"])),
    spec.Periodic: Fast(lambda x: tabular.Periodic(x.parameters, x.layer), unpadded=3),
}
"""The layers whose operator is written by hand."""

LARGE: dict[type[Layer], Callable[[Slots], Operator]] = {
    spec.Linear: lambda x: large.Linear(*x.pair, frozen_bias=x.frozen_bias, bf16_matmul=x.bf16_matmul),
    spec.Convolution: lambda x: large_images.Convolution(*x.pair, x.frozen_bias, x.bf16_matmul, x.layer),
    spec.BatchNorm: lambda x: large_images.ChannelNorm(
        *x.pair, x.buffers["running_mean"], x.buffers["running_var"], x.layer
    ),
    spec.Pool: lambda x: large_images.Pool(x.layer),
}
"""The operators of large layers on a CPU."""


def operator_of(slots: Slots) -> Operator | MergeOperator:
    """The operator of a layer."""
    if slots.sum_over_ranks is not None and isinstance(slots.layer, spec.BatchNorm):
        return SynchronizedBatchNorm(slots, slots.sum_over_ranks)
    fast = FAST.get(type(slots.layer))
    if fast is None:
        return Autograd(slots)
    if large.is_large(slots.layer) and not slots.on_gpu:
        return LARGE[type(slots.layer)](slots)
    return fast.make(slots)
