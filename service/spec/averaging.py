"""Averages of a network's weights over training steps or epochs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from service.spec.base import Float, Int, Strict, kind_or


class Ema(Strict):
    """Exponential moving average of the weights, updated after each optimizer step (Polyak and Juditsky, 1992).

    average = decay x average + (1 - decay) x weights, from the weights after the first step (AveragedModel with
    get_ema_multi_avg_fn). The running statistics of batch normalization are averaged in the same way.
    """

    kind: Literal["ema"] = "ema"
    """The average's name."""
    decay: Annotated[Float, Field(ge=0.0, lt=1.0)] = 0.999
    """Share of the old average that a step keeps; the average reaches back some 1 / (1 - decay) steps."""


class Swa(Strict):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs (Izmailov et al., 2018).

    The statistics of batch normalization are computed anew by a pass over the training rows after each epoch from
    `start` on (AveragedModel and update_bn, but without dropout). Before `start` the weights are those of the epoch.
    """

    kind: Literal["swa"] = "swa"
    """The average's name."""
    start: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """The first epoch of the mean; null: the epoch after three quarters of `max_epochs`."""

    def first_epoch(self, max_epochs: int) -> int:
        """The first epoch of the mean."""
        return self.start or max_epochs * 3 // 4 + 1


Averaging = Annotated[Annotated[Ema, Tag("ema")] | Annotated[Swa, Tag("swa")], kind_or("ema")]
