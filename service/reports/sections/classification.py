"""Sections of a classifier's report."""

from __future__ import annotations

from service.reports.sections.estimate import Estimate
from service.spec.base import Float, FrozenModel, Strict


class Costs(Strict):
    """Costs of the four outcomes of one row in a problem of two classes; a gain is a negative cost."""

    true_negative: Float = 0.0
    """Cost of a negative row that is predicted negative."""
    false_positive: Float = 1.0
    """Cost of a negative row that is predicted positive."""
    false_negative: Float = 1.0
    """Cost of a positive row that is predicted negative."""
    true_positive: Float = 0.0
    """Cost of a positive row that is predicted positive."""


class ConfusionMatrix(FrozenModel):
    """Rows by true and predicted class."""

    classes: list[str]
    """Names of rows and columns of `counts`; the last one is `(other)` if classes are grouped."""
    counts: list[list[int]]
    """`counts[i][j]`: rows of class i that are predicted as class j."""
    grouped: int
    """Number of classes that `(other)` stands for: all but the 50 most frequent; 0 without it."""


class ClassMetrics(FrozenModel):
    """Metrics of one class against all others."""

    name: str
    """The class."""
    support: int
    """Rows of this class."""
    predicted: int
    """Rows that are predicted as this class."""
    precision: Estimate
    """Share of the rows predicted as this class that are of it; null if there are none."""
    recall: Estimate
    """Share of the rows of this class that are predicted as it; null if there are none."""
    f1: Estimate
    """Harmonic mean of precision and recall; null if the class neither occurs nor is predicted."""
    roc_auc: Estimate
    """Area under the ROC curve of this class against all others; null if one side has no rows."""
    average_precision: Estimate
    """Area under the precision-recall curve; null if the class has no rows."""


class AverageMetrics(FrozenModel):
    """Averages of precision, recall and F1 over the classes that occur or are predicted; 0 where undefined."""

    precision: Estimate
    """Average precision of the classes."""
    recall: Estimate
    """Average recall of the classes."""
    f1: Estimate
    """Average F1 score of the classes."""


class RocCurve(FrozenModel):
    """A ROC curve: a row is predicted positive if its probability is at least the threshold."""

    name: str
    """The positive class; `(macro)`: mean of the curves of all classes."""
    false_positive_rate: list[float]
    """Share of the negative rows predicted positive; increasing."""
    true_positive_rate: list[float]
    """Share of the positive rows predicted positive."""
    thresholds: list[float | None]
    """Threshold of each point; null above all probabilities, and for `(macro)`."""


class PrecisionRecallCurve(FrozenModel):
    """A precision-recall curve: a step curve, whose precision holds from the point before it to its recall."""

    name: str
    """The positive class; `(macro)`: mean of the curves of all classes."""
    recall: list[float]
    """Recall; increasing."""
    precision: list[float]
    """Precision at that recall."""
    thresholds: list[float | None]
    """Threshold of each point; null for `(macro)`."""


class ReliabilityBin(FrozenModel):
    """Rows with similar probabilities."""

    rows: int
    """Number of rows."""
    mean_probability: float
    """Mean of what was predicted."""
    observed: Estimate
    """Share of the rows for which it was right."""


class Reliability(FrozenModel):
    """Predicted probabilities against observed shares, in bins with about equally many rows."""

    of: str
    """The class whose probability it is; `(predicted class)`: of the predicted class, with more than two classes."""
    bins: list[ReliabilityBin]
    """By increasing probability."""
    expected_calibration_error: Estimate
    """Mean of the bins' differences between predicted and observed, weighted by rows."""


class ThresholdMetrics(FrozenModel):
    """Metrics if rows with a probability of at least `threshold` are predicted positive."""

    threshold: float
    """Threshold of the positive class' probability."""
    precision: Estimate
    """Share of the rows predicted positive that are positive; null if there are none."""
    recall: Estimate
    """Share of the positive rows that are predicted positive."""
    f1: Estimate
    """Harmonic mean of precision and recall."""
    accuracy: Estimate
    """Share of the rows predicted right."""
    predicted_positive: Estimate
    """Share of the rows predicted positive."""
    cost: Estimate | None
    """Mean cost of a row, without an interval; null unless costs were given."""


class BestThreshold(FrozenModel):
    """The threshold at which one metric is best on these rows; on new rows it is expected to be a little worse."""

    metric: str
    """`f1`, `accuracy`, `balanced_accuracy` or `cost`."""
    at: ThresholdMetrics
    """Metrics at that threshold."""


class Thresholds(FrozenModel):
    """What thresholds other than 0.5 would do, for two classes."""

    positive: str
    """The positive class."""
    rows: list[ThresholdMetrics]
    """By increasing threshold."""
    best: list[BestThreshold]
    """The best thresholds; of equally good ones the nearest to 0.5."""


class ClassificationSection(FrozenModel):
    """Metrics of a classifier."""

    rows: int
    """Number of rows."""
    accuracy: Estimate
    """Share of the rows predicted right."""
    balanced_accuracy: Estimate
    """Mean recall of the classes that occur."""
    log_loss: Estimate
    """Mean negative logarithm of the true class' probability, which is limited to 1.2e-7 from 0 and 1."""
    brier_score: Estimate
    """Mean squared difference between probabilities and truth: of the positive class if there are two classes, else
    summed over classes."""
    roc_auc: Estimate
    """Area under the ROC curve: of the positive (second) class if there are two, else the mean over classes against all
    others, without those that do not occur."""
    average_precision: Estimate
    """Area under the precision-recall curve, averaged as `roc_auc` is."""
    macro: AverageMetrics
    """Unweighted means over classes."""
    weighted: AverageMetrics
    """Means weighted by the number of rows of each class."""
    classes: list[ClassMetrics]
    """The classes in their order; of more than 50, the 50 most frequent."""
    confusion: ConfusionMatrix
    """Rows by true and predicted class."""
    roc: list[RocCurve]
    """ROC curves: of the positive class if there are two, else of the 10 most frequent classes, and `(macro)`."""
    precision_recall: list[PrecisionRecallCurve]
    """Precision-recall curves of the same classes."""
    reliability: Reliability
    """Predicted probabilities against observed shares."""
    thresholds: Thresholds | None
    """Thresholds; null unless there are two classes."""
