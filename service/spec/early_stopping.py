"""Early stopping: the monitored metric, and the stopping rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag, field_validator

from service.spec.base import Float, Int, OpenEnum, Strict, kind_or, known


class Monitor(OpenEnum):
    """A metric of the history that can be monitored."""

    val_loss = "val_loss"
    val_accuracy = "val_accuracy"
    val_balanced_accuracy = "val_balanced_accuracy"
    val_f1_macro = "val_f1_macro"
    val_roc_auc = "val_roc_auc"
    val_log_loss = "val_log_loss"
    val_mae = "val_mae"
    val_rmse = "val_rmse"
    val_r2 = "val_r2"
    val_poisson_deviance = "val_poisson_deviance"
    train_loss = "train_loss"

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of this metric is the better one."""
        return self in LARGER_IS_BETTER


CLASSIFICATION = frozenset(
    {
        Monitor.val_accuracy,
        Monitor.val_balanced_accuracy,
        Monitor.val_f1_macro,
        Monitor.val_roc_auc,
        Monitor.val_log_loss,
    }
)
REGRESSION = frozenset({Monitor.val_mae, Monitor.val_rmse, Monitor.val_r2, Monitor.val_poisson_deviance})
LARGER_IS_BETTER = frozenset(
    {
        Monitor.val_accuracy,
        Monitor.val_balanced_accuracy,
        Monitor.val_f1_macro,
        Monitor.val_roc_auc,
        Monitor.val_r2,
    }
)

Alpha = Annotated[Float, Field(gt=0.0, le=1e6)]


class _Rule(Strict):
    rule: str
    monitor: Annotated[Monitor, AfterValidator(known)] = Monitor.val_loss
    """The monitored metric: it decides which epoch is best."""
    min_epochs: Annotated[Int, Field(ge=0, le=1_000_000)] = 0
    """Do not stop early before this epoch; the best epoch is tracked from the start."""
    target: Float | None = None
    """Stop as soon as the monitored metric reaches this value."""
    on_non_finite: Literal["stop", "fail", "ignore"] = "stop"
    """If a loss is NaN or infinite: `stop` ends the job, `fail` fails it, `ignore` counts it as no improvement."""


class Patience(_Rule):
    """Stop when the monitored value has not improved for `patience` epochs."""

    rule: Literal["patience"] = "patience"
    """The rule's name."""
    patience: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    """Training stops after this many epochs without an improvement larger than `min_delta`."""
    min_delta: Annotated[Float, Field(ge=0.0, le=1e12)] = 0.0
    """Only improvements larger than this reset the patience; the best weights follow any improvement."""
    min_delta_mode: Literal["absolute", "relative"] = "absolute"
    """`relative`: `min_delta` is a fraction of the magnitude of the value at which patience was last reset; smaller
    improvements since then do not change it."""

    @property
    def earliest_stop(self) -> int:
        """The first epoch at which the rule can fire."""
        return max(self.patience + 1, self.min_epochs)


class _Prechelt(_Rule):
    """A rule of Prechelt, "Early Stopping - But When?" (1998), for errors that decrease towards 0."""

    @field_validator("monitor")
    @classmethod
    def _minimized(cls, monitor: Monitor) -> Monitor:
        if monitor.larger_is_better:
            raise ValueError(f"should be a loss or an error: this rule is not defined for {monitor.value}")
        return monitor


class GeneralizationLoss(_Prechelt):
    """Stop when the monitored value is more than `alpha` percent above its best (Prechelt's GL, 1998).

    GL(t) = 100 (E(t) / E_opt(t) - 1), where E_opt(t) is the least of E(1), ..., E(t), the monitored values so far;
    it does not fire while that minimum is not above 0.
    """

    rule: Literal["gl"] = "gl"
    """The rule's name."""
    alpha: Alpha = 5.0
    """Percent above the best value beyond which training stops; Prechelt tried 1 to 5."""

    @property
    def earliest_stop(self) -> int:
        """The first epoch at which the rule can fire."""
        return max(2, self.min_epochs)


class ProgressQuotient(_Prechelt):
    """Stop when GL (see rule `gl`) exceeds the training progress (Prechelt's PQ, 1998).

    P(t) = 1000 ((mean train_loss of the last k epochs) / (their smallest train_loss) - 1); stop when
    GL(t) / P(t) > alpha.
    Checked after every k epochs; it does not fire if a training loss or the best value is not finite and above 0.
    """

    rule: Literal["pq"] = "pq"
    """The rule's name."""
    alpha: Alpha = 0.5
    """Percent of generalization loss per per mille of training progress; Prechelt tried 0.5 to 3."""
    k: Annotated[Int, Field(ge=2, le=10_000)] = 5
    """Epochs per strip; the rule is checked after each strip."""

    @field_validator("monitor")
    @classmethod
    def _validated(cls, monitor: Monitor) -> Monitor:
        if monitor is Monitor.train_loss:
            raise ValueError("should be a validation metric: this rule weighs it against train_loss")
        return monitor

    @property
    def earliest_stop(self) -> int:
        """The first epoch at which the rule can fire."""
        return _strip_end(max(self.k, self.min_epochs), self.k)


class SuccessiveRises(_Prechelt):
    """Stop when the monitored metric has risen from strip to strip `s` times in a row (Prechelt's UP, 1998).

    Compares the values of the last epochs of successive strips of `k` epochs; a value that is not finite counts as a
    rise.
    """

    rule: Literal["up"] = "up"
    """The rule's name."""
    s: Annotated[Int, Field(ge=1, le=10_000)] = 3
    """Successive rises after which training stops; Prechelt tried 2 to 8."""
    k: Annotated[Int, Field(ge=1, le=10_000)] = 5
    """Epochs per strip; the rule is checked after each strip."""

    @property
    def earliest_stop(self) -> int:
        """The first epoch at which the rule can fire."""
        return _strip_end(max((self.s + 1) * self.k, self.min_epochs), self.k)


def _strip_end(epoch: int, k: int) -> int:
    """The first end of a strip at `epoch` or after it."""
    return -(-epoch // k) * k


EarlyStopping = Annotated[
    Annotated[Patience, Tag("patience")]
    | Annotated[GeneralizationLoss, Tag("gl")]
    | Annotated[ProgressQuotient, Tag("pq")]
    | Annotated[SuccessiveRises, Tag("up")],
    kind_or("patience", field="rule"),
]
