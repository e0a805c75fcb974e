"""Learning-rate schedules of a spec, with PyTorch's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, ValidationInfo, field_validator

from service.spec.base import Float, Int, Strict, kind_or

Epochs = Annotated[Int, Field(ge=1, le=1_000_000)]
LowRate = Annotated[Float, Field(ge=0.0, le=10.0)]


class _Schedule(Strict):
    warmup_steps: Annotated[Int, Field(ge=0, le=1_000_000_000)] = 0
    """Linear warm-up: the rate of optimizer step n (from 1) is multiplied by n / `warmup_steps` up to that step
    (LinearLR). The schedule itself is not shifted."""
    warmup_share: Annotated[Float, Field(ge=0.0, le=1.0)] = 0.0
    """Warm-up as a fraction of the steps of `max_epochs` epochs, rounded up; in place of `warmup_steps`."""

    @field_validator("warmup_share")
    @classmethod
    def _one_length(cls, share: float, info: ValidationInfo) -> float:
        if share and info.data.get("warmup_steps"):
            raise ValueError("cannot be combined with warmup_steps: set one of the two")
        return share


class Constant(_Schedule):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"
    """The schedule's name."""


class Cosine(_Schedule):
    """Half a cosine from `lr` at the first epoch to `min_lr` after the last (CosineAnnealingLR)."""

    kind: Literal["cosine"] = "cosine"
    """The schedule's name."""
    min_lr: LowRate = 0.0
    """The learning rate at the end of the curve."""
    epochs: Epochs | None = None
    """Length of the curve in epochs, after which the rate stays at `min_lr`; null: `max_epochs`."""


class Step(_Schedule):
    """Multiply the learning rate by `gamma` every `step_size` epochs (StepLR)."""

    kind: Literal["step"] = "step"
    """The schedule's name."""
    step_size: Epochs = 30
    """Epochs between two changes."""
    gamma: Annotated[Float, Field(gt=0.0, le=1.0)] = 0.1
    """The factor of each change."""


class Plateau(_Schedule):
    """Multiply the learning rate by `factor` when the monitored metric stops improving (ReduceLROnPlateau)."""

    kind: Literal["plateau"] = "plateau"
    """The schedule's name."""
    factor: Annotated[Float, Field(gt=0.0, lt=1.0)] = 0.1
    """The factor of each change."""
    patience: Annotated[Int, Field(ge=0, le=1_000_000)] = 5
    """Epochs without improvement before the rate is reduced."""
    threshold: Annotated[Float, Field(ge=0.0, lt=1.0)] = 1e-4
    """Smallest relative improvement over the best value that counts."""
    min_lr: LowRate = 0.0
    """Lower bound of the learning rate."""


class CosLog4(_Schedule):
    """Four cosine waves of growing length, changed at every step (RealMLP, arXiv 2407.04491).

    lr(t) = lr (1 - cos(2 pi log2(1 + 15 t))) / 2, where t from 0 to 1 is the fraction of the steps taken. The rate is 0
    at t = 0, 1/15, 3/15, 7/15 and 1.
    """

    kind: Literal["coslog4"] = "coslog4"
    """The schedule's name."""
    epochs: Epochs | None = None
    """Length of the curve in epochs, after which the rate stays at 0; null: `max_epochs`."""


class OneCycle(_Schedule):
    """A rise to `lr` and a fall to almost 0, both half a cosine, changed at every step (OneCycleLR).

    It is Smith and Topin's 1cycle policy (2018) in PyTorch's form, but momentum and betas stay constant.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    """The schedule's name."""
    pct_start: Annotated[Float, Field(ge=0.0, le=1.0)] = 0.3
    """Fraction of the steps in which the rate rises."""
    div_factor: Annotated[Float, Field(ge=1.0, le=1e12)] = 25.0
    """The first rate is `lr` divided by this."""
    final_div_factor: Annotated[Float, Field(ge=1.0, le=1e12)] = 1e4
    """The last rate is the first divided by this."""
    epochs: Epochs | None = None
    """Length of the curve in epochs, after which the rate stays at its end; null: `max_epochs`."""


Schedule = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Step, Tag("step")]
    | Annotated[Plateau, Tag("plateau")]
    | Annotated[CosLog4, Tag("coslog4")]
    | Annotated[OneCycle, Tag("one_cycle")],
    kind_or("constant"),
]
