"""How weights move: optimizers, learning-rate schedules, the loss. Names and meanings are PyTorch's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from service.spec.base import Bool, Float, Int, Strict, kind_or

Rate = Annotated[Float, Field(gt=0.0, le=10.0)]
Beta = Annotated[Float, Field(ge=0.0, lt=1.0)]


class _Optimizer(Strict):
    lr: Rate = 0.003
    """Learning rate at the first epoch."""
    weight_decay: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """Decay of the weight matrices; biases and batch-norm parameters are never decayed."""
    max_grad_norm: Annotated[Float, Field(gt=0.0, le=1e9)] | None = None
    """A step's gradient that is longer than this is scaled down to it (clip_grad_norm_); null: never."""


class Sgd(_Optimizer):
    """Stochastic gradient descent, with momentum if asked for."""

    kind: Literal["sgd"] = "sgd"
    """The optimizer's name."""
    momentum: Beta = 0.0
    """Share of the last step that is kept."""
    nesterov: Bool = False
    """Look ahead along the momentum; needs momentum above 0."""


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
    """The learning rate stays as it is."""

    kind: Literal["constant"] = "constant"
    """The schedule's name."""


class Cosine(Strict):
    """Half a cosine from `lr` at the first epoch to `min_lr` after the last (CosineAnnealingLR)."""

    kind: Literal["cosine"] = "cosine"
    """The schedule's name."""
    min_lr: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """The rate at the end of the curve."""
    epochs: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Length of the curve, after which the rate stays at `min_lr`; null: `max_epochs`."""


class Step(Strict):
    """Multiply the learning rate by `gamma` every `step_size` epochs (StepLR)."""

    kind: Literal["step"] = "step"
    """The schedule's name."""
    step_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 30
    """Epochs between two changes."""
    gamma: Annotated[Float, Field(gt=0.0, le=1.0)] = 0.1
    """The factor of each change."""


class Plateau(Strict):
    """Multiply the rate by `factor` when the monitored value stands still (ReduceLROnPlateau)."""

    kind: Literal["plateau"] = "plateau"
    """The schedule's name."""
    factor: Annotated[Float, Field(gt=0.0, lt=1.0)] = 0.1
    """The factor of each change."""
    patience: Annotated[Int, Field(ge=0, le=1_000_000)] = 5
    """Epochs without improvement that are forgiven."""
    threshold: Annotated[Float, Field(ge=0.0, lt=1.0)] = 1e-4
    """Smallest improvement that counts, relative to the best value."""
    min_lr: Annotated[Float, Field(ge=0.0, le=10.0)] = 0.0
    """The rate never falls below this."""


class Loss(Strict):
    """What is minimized: cross-entropy for classification, mean squared error for regression."""

    label_smoothing: Annotated[Float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each training label spread over all classes; classification only."""
    class_weight: Literal["balanced"] | None = None
    """`balanced` weighs a class by rows / (classes x its rows) in training; classification only."""


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
