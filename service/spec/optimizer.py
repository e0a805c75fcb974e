"""Optimizers of a spec, with PyTorch's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag

from service.spec.base import Bool, Float, Strict, kind_or
from service.spec.capped_errors import CapErrors

Rate = Annotated[Float, Field(gt=0.0, le=10.0)]
Factor = Annotated[Float, Field(ge=0.0, le=1_000.0)]
RateKey = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=220)]
Beta = Annotated[Float, Field(ge=0.0, lt=1.0)]


class _Optimizer(Strict):
    lr: Rate = 0.003
    """Initial learning rate."""
    weight_decay: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """Weight decay of weight matrices; biases and normalization parameters are not decayed."""
    max_grad_norm: Annotated[Float, Field(gt=0.0, le=1e9)] | None = None
    """Gradient clipping: the largest norm of a step's gradient (clip_grad_norm_); null: no clipping."""

    rates: Annotated[dict[RateKey, Factor], Field(max_length=100), CapErrors()] = {}
    """Factors of the learning rate by layer, e.g. `{"batch_norm": 0.5, "linear.bias": 0.1}`. A key is a layer's name or
    kind, with `.weight` or `.bias` for these parameters alone. Names count before kinds, and parameters before whole
    layers. A factor replaces the layer's own one; with 0 the parameters stay as they are."""


class Sgd(_Optimizer):
    """Stochastic gradient descent, with optional momentum."""

    kind: Literal["sgd"] = "sgd"
    """The optimizer's name."""
    momentum: Beta = 0.0
    """Momentum factor."""
    nesterov: Bool = False
    """Nesterov momentum; requires momentum above 0."""


class Adam(_Optimizer):
    """Adam (Kingma and Ba, 2015); weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"
    """The optimizer's name."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the running mean and the running square of the gradient."""
    eps: Annotated[Float, Field(gt=0.0, le=1.0)] = 1e-8
    """Added to the denominator."""


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    """The optimizer's name."""
    decay_schedule: Literal["constant", "flat_cos"] = "constant"
    """A step subtracts learning rate x weight decay x weight: the decay always follows the learning-rate schedule.
    `flat_cos` also multiplies it by (1 + cos(pi (max(1, 2 t) - 1))) / 2, where t from 0 to 1 is the fraction of the
    steps of `max_epochs` epochs: constant in the first half, then falling to 0 (RealMLP)."""


Optimizer = Annotated[
    Annotated[Sgd, Tag("sgd")] | Annotated[Adam, Tag("adam")] | Annotated[AdamW, Tag("adamw")],
    kind_or("adam"),
]
