"""Loss functions of a spec."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from service.spec.base import Float, Strict, kind_or

Smoothing = Annotated[Float, Field(ge=0.0, lt=1.0)]
ClassWeight = Literal["balanced"] | None


class DefaultLoss(Strict):
    """Cross-entropy for classification, squared error for regression."""

    kind: Literal["auto"] = "auto"
    """The loss's name; the job has `cross_entropy` or `squared` in its place."""
    label_smoothing: Smoothing = 0.0
    """Label smoothing of the training labels; classification only."""
    class_weight: ClassWeight = None
    """`balanced` weights a class by rows / (classes x rows of the class) in training; classification only."""


class CrossEntropy(Strict):
    """Cross-entropy, for classification (CrossEntropyLoss)."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    """The loss's name."""
    label_smoothing: Smoothing = 0.0
    """Label smoothing of the training labels."""
    class_weight: ClassWeight = None
    """`balanced` weights a class by rows / (classes x rows of the class) in training."""


class Focal(Strict):
    """Focal loss, for classification: -(1 - p)^gamma log p, where p is the probability of the row's class.

    It gives less weight to rows that are classified well (Lin et al., 2017).
    """

    kind: Literal["focal"] = "focal"
    """The loss's name."""
    gamma: Annotated[Float, Field(ge=0.0, le=10.0)] = 2.0
    """Focusing parameter; 0 is cross-entropy."""
    class_weight: ClassWeight = None
    """`balanced` weights a class by rows / (classes x rows of the class) in training."""


class SquaredError(Strict):
    """Squared error, for regression (MSELoss): predicts the mean."""

    kind: Literal["squared"] = "squared"
    """The loss's name."""


class AbsoluteError(Strict):
    """Absolute error, for regression (L1Loss): predicts the median."""

    kind: Literal["absolute"] = "absolute"
    """The loss's name."""


class Huber(Strict):
    """Huber loss, for regression (HuberLoss): squared for small errors, absolute for large ones (Huber, 1964)."""

    kind: Literal["huber"] = "huber"
    """The loss's name."""
    delta: Annotated[Float, Field(gt=0.0, le=1e6)] = 1.0
    """The error at which the loss changes from squared to absolute, in standard deviations of the training target."""


class QuantileLoss(Strict):
    """Quantile or pinball loss, for regression: predicts the `q` quantile (Koenker and Bassett, 1978).

    With error e = target - prediction it is max(q e, (q - 1) e).
    """

    kind: Literal["quantile"] = "quantile"
    """The loss's name."""
    q: Annotated[Float, Field(gt=0.0, lt=1.0)] = 0.5
    """The quantile to predict; 0.5 is the median."""


class Poisson(Strict):
    """Poisson loss, for regression on counts or rates, which must not be negative: predicts the mean.

    The network's output is the logarithm of rate / m, where m is the mean of the training targets. The loss is half the
    Poisson deviance in units of m; its gradient is that of PoissonNLLLoss. A predicted rate is at most e^80 m.
    """

    kind: Literal["poisson"] = "poisson"
    """The loss's name."""


Loss = Annotated[
    Annotated[DefaultLoss, Tag("auto")]
    | Annotated[CrossEntropy, Tag("cross_entropy")]
    | Annotated[Focal, Tag("focal")]
    | Annotated[SquaredError, Tag("squared")]
    | Annotated[AbsoluteError, Tag("absolute")]
    | Annotated[Huber, Tag("huber")]
    | Annotated[QuantileLoss, Tag("quantile")]
    | Annotated[Poisson, Tag("poisson")],
    kind_or("auto"),
]


def validation_loss(loss: Loss) -> dict[str, Any]:
    """The fields that the loss of validation rows depends on; values can be compared if these are equal."""
    return loss.model_dump(exclude={"label_smoothing", "class_weight"})  # of training rows alone


CLASSIFICATION = (CrossEntropy, Focal)
REGRESSION = (SquaredError, AbsoluteError, Huber, QuantileLoss, Poisson)
KnownLoss = CrossEntropy | Focal | SquaredError | AbsoluteError | Huber | QuantileLoss | Poisson
RegressionLoss = SquaredError | AbsoluteError | Huber | QuantileLoss | Poisson
