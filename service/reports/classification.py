"""The section of a report about a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.reports import class_metrics
from service.reports.areas import Areas, class_areas
from service.reports.bootstrap import Bootstrap
from service.reports.class_metrics import MAX_CLASSES, ClassCounts
from service.reports.curves import rank
from service.reports.intervals import proportion
from service.reports.reliability import reliability
from service.reports.row_scores import brier_scores, log_losses
from service.reports.sections.classification import ClassificationSection, ClassMetrics, Costs, Reliability, Thresholds
from service.reports.thresholds import thresholds

MAX_CURVES = 10
PREDICTED = "(predicted class)"


def classification_section(
    truth: NDArray[np.int64],
    probabilities: NDArray[Any],
    classes: Sequence[str],
    *,
    costs: Costs | None = None,
    seed: int = 0,
) -> ClassificationSection:
    """Metrics of the rows; truth: (N,) class numbers, probabilities: (N, C), classes: C names, N > 0, C > 1.

    With two classes the second one is the positive one. `costs` are for two classes.
    """
    bootstrap = Bootstrap(len(truth), seed)
    counts = class_metrics.count(truth, probabilities.argmax(1), len(classes))
    listed, drawn = (class_metrics.most_frequent(counts, number) for number in (MAX_CLASSES, MAX_CURVES))
    areas = class_areas(truth, probabilities, classes, listed, drawn, bootstrap)
    log_loss, brier = bootstrap.means([log_losses(truth, probabilities), brier_scores(truth, probabilities)], 0.0)
    return ClassificationSection(
        rows=len(truth),
        accuracy=proportion(counts.hits.sum(), len(truth)),
        balanced_accuracy=class_metrics.balanced_accuracy(counts, bootstrap),
        log_loss=log_loss,
        brier_score=brier,
        roc_auc=areas.roc_auc,
        average_precision=areas.average_precision,
        macro=class_metrics.macro(counts, bootstrap),
        weighted=class_metrics.weighted(counts, bootstrap),
        classes=_by_class(counts, classes, listed, areas, bootstrap),
        confusion=class_metrics.confusion_matrix(counts, classes),
        roc=areas.roc,
        precision_recall=areas.precision_recall,
        reliability=_reliability(counts, probabilities, classes, bootstrap),
        thresholds=_thresholds(truth, probabilities, classes, bootstrap, costs),
    )


def _by_class(
    counts: ClassCounts, names: Sequence[str], listed: Sequence[int], areas: Areas, bootstrap: Bootstrap
) -> list[ClassMetrics]:
    precision, recall = class_metrics.precisions(counts), class_metrics.recalls(counts)
    f1 = class_metrics.f1_scores(counts, listed, bootstrap)
    return [
        ClassMetrics(
            name=names[i],
            support=int(counts.support[i]),
            predicted=int(counts.predictions[i]),
            precision=precision[i],
            recall=recall[i],
            f1=f1[place],
            roc_auc=areas.by_class[i][0],
            average_precision=areas.by_class[i][1],
        )
        for place, i in enumerate(listed)
    ]


def _reliability(
    counts: ClassCounts, probabilities: NDArray[Any], names: Sequence[str], bootstrap: Bootstrap
) -> Reliability:
    if len(names) == 2:
        return reliability(names[1], probabilities[:, 1].astype(np.float64), counts.truth == 1, bootstrap)
    return reliability(PREDICTED, probabilities.max(1).astype(np.float64), counts.hit, bootstrap)


def _thresholds(
    truth: NDArray[np.int64],
    probabilities: NDArray[Any],
    names: Sequence[str],
    bootstrap: Bootstrap,
    costs: Costs | None,
) -> Thresholds | None:
    if len(names) != 2:
        return None
    scores = probabilities[:, 1].astype(np.float64)
    return thresholds(names[1], rank(truth == 1, scores), scores, bootstrap, costs)
