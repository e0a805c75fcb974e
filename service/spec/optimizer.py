"""Optimizers, learning-rate schedules and loss options of a spec, with PyTorch's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from service.spec.base import Bool, Float, Int, Strict, kind_or

Rate = Annotated[Float, Field(gt=0.0, le=10.0)]
Beta = Annotated[Float, Field(ge=0.0, lt=1.0)]


class _Optimizer(Strict):
    lr: Rate = 0.003
    """Initial learning rate."""
    weight_decay: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """Weight decay of weight matrices; biases and normalization parameters are not decayed."""
    max_grad_norm: Annotated[Float, Field(gt=0.0, le=1e9)] | None = None
    """Gradient clipping: the largest norm of a step's gradient (clip_grad_norm_); null: no clipping."""


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


class Constant(Strict):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"
    """The schedule's name."""


class Cosine(Strict):
    """Half a cosine from `lr` at the first epoch to `min_lr` after the last (CosineAnnealingLR)."""

    kind: Literal["cosine"] = "cosine"
    """The schedule's name."""
    min_lr: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """The learning rate at the end of the curve."""
    epochs: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Length of the curve in epochs, after which the rate stays at `min_lr`; null: `max_epochs`."""


class Step(Strict):
    """Multiply the learning rate by `gamma` every `step_size` epochs (StepLR)."""

    kind: Literal["step"] = "step"
    """The schedule's name."""
    step_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 30
    """Epochs between two changes."""
    gamma: Annotated[Float, Field(gt=0.0, le=1.0)] = 0.1
    """The factor of each change."""


class Plateau(Strict):
    """Multiply the learning rate by `factor` when the monitored metric stops improving (ReduceLROnPlateau)."""

    kind: Literal["plateau"] = "plateau"
    """The schedule's name."""
    factor: Annotated[Float, Field(gt=0.0, lt=1.0)] = 0.1
    """The factor of each change."""
    patience: Annotated[Int, Field(ge=0, le=1_000_000)] = 5
    """Epochs without improvement before the rate is reduced."""
    threshold: Annotated[Float, Field(ge=0.0, lt=1.0)] = 1e-4
    """Smallest relative improvement over the best value that counts."""
    min_lr: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """Lower bound of the learning rate."""


class Loss(Strict):
    """Options of the loss: cross-entropy for classification, mean squared error for regression."""

    label_smoothing: Annotated[Float, Field(ge=0.0, lt=1.0)] = 0.0
    """Label smoothing of the training labels; classification only."""
    class_weight: Literal["balanced"] | None = None
    """`balanced` weights a class by rows / (classes x rows of the class) in training; classification only."""


Optimizer = Annotated[
    Annotated[Sgd, Tag("sgd")] | Annotated[Adam, Tag("adam")] | Annotated[AdamW, Tag("adamw")],
    kind_or("adam"),
]
Schedule = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Step, Tag("step")]
    | Annotated[Plateau, Tag("plateau")],
    kind_or("constant"),
]
