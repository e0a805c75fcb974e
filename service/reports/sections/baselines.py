"""A network compared with simple models."""

from __future__ import annotations

from typing import Literal

from service.reports.sections.estimate import Estimate
from service.reports.sections.importance import Loss
from service.spec.base import FrozenModel

BaselineName = Literal["constant", "linear", "boosted_trees"]
Verdict = Literal["network_better", "no_difference", "baseline_better"]


class Baseline(FrozenModel):
    """A simple model, trained on the same rows and scored on the same rows as the network."""

    name: BaselineName
    """The kind of model."""
    description: str
    """What it is, in words."""
    loss: Estimate
    """Its loss."""
    metrics: dict[str, float | None]
    """`accuracy`, or `mae` and `r2`."""
    difference: Estimate
    """Its loss minus the network's, on the same rows (paired): above 0 the network is better."""
    verdict: Verdict
    """Which is better; `no_difference` where the interval of the difference contains 0."""


class Baselines(FrozenModel):
    """Compared with what: simple models beside the network."""

    loss: Loss
    """What models are compared by: log loss for classification, else the loss that the job was trained for."""
    network: Estimate
    """The network's loss."""
    network_metrics: dict[str, float | None]
    """The network's `accuracy`, or `mae` and `r2`."""
    training_rows: int
    """How many training rows the models were fitted on; fewer than the network's where there are many. Of several fits,
    the fewest."""
    fits: int = 1
    """On how many different sets of training rows the models were fitted: for cross-validated networks on those of each
    fold. As the networks do, only the models that were not trained on a row predict it, and are averaged."""
    models: list[Baseline]
    """The simplest first."""
    missing: str | None = None
    """Why models are missing, and how to get them."""
