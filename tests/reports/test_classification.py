"""Metrics of classifiers equal scikit-learn's, with ties and absent classes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.reports.classification import classification_section
from service.reports.sections.classification import ClassificationSection
from service.reports.sections.estimate import Estimate

EXACT = {"rel": 1e-9, "abs": 1e-9}


@st.composite
def classified(draw: st.DrawFn) -> tuple[Any, Any]:
    """(truth (N,), probabilities (N, C)), with few different logits so that ties are common; classes may be absent."""
    rows, classes = draw(st.integers(1, 60)), draw(st.integers(2, 5))
    logits = draw(npst.arrays(np.float64, (rows, classes), elements=st.sampled_from([-30.0, -2.0, 0.0, 0.25, 3.0])))
    truth = draw(npst.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    return truth, softmax(logits)


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def section_of(truth: Any, probabilities: Any, **options: Any) -> ClassificationSection:
    names = [f"class {i}" for i in range(probabilities.shape[1])]
    return classification_section(truth, probabilities, names, **options)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # about absent classes
        yield


@settings(max_examples=30)
@given(classified())
def test_scalars_are_those_of_scikit_learn(rows: tuple[Any, Any]) -> None:
    truth, probabilities = rows
    classes, predicted = range(probabilities.shape[1]), probabilities.argmax(1)
    limited = np.clip(probabilities, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)

    found = section_of(truth, probabilities)

    assert found.rows == len(truth)
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(truth, predicted), **EXACT)
    assert found.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(truth, predicted), **EXACT)
    assert found.log_loss.value == pytest.approx(sk.log_loss(truth, limited, labels=classes), **EXACT)
    brier = sk.brier_score_loss(truth, probabilities, labels=classes)
    assert found.brier_score.value == pytest.approx(brier, **EXACT)


@settings(max_examples=30)
@given(classified())
def test_precision_recall_and_f1_are_those_of_scikit_learn(rows: tuple[Any, Any]) -> None:
    truth, probabilities = rows
    predicted, classes = probabilities.argmax(1), range(probabilities.shape[1])
    per_class = sk.precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=np.nan)

    found = section_of(truth, probabilities)

    for i, each in enumerate(found.classes):
        values = [np.nan if e.value is None else e.value for e in (each.precision, each.recall, each.f1)]
        assert values == pytest.approx([column[i] for column in per_class[:3]], nan_ok=True, **EXACT)
        assert each.support == per_class[3][i]
        assert each.predicted == (predicted == i).sum()
    for average, own in (("macro", found.macro), ("weighted", found.weighted)):
        expected = sk.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)[:3]
        assert [own.precision.value, own.recall.value, own.f1.value] == pytest.approx(expected, **EXACT)
    assert found.confusion.counts == sk.confusion_matrix(truth, predicted, labels=classes).tolist()
    assert found.confusion.grouped == 0


@settings(max_examples=30)
@given(classified())
def test_areas_are_those_of_scikit_learn_over_the_classes_that_occur(rows: tuple[Any, Any]) -> None:
    truth, probabilities = rows
    areas: list[tuple[float, float]] = []

    found = section_of(truth, probabilities)

    for i, each in enumerate(found.classes):
        positive = truth == i
        if 0 < positive.sum() < len(truth):
            areas.append(
                (
                    sk.roc_auc_score(positive, probabilities[:, i]),
                    sk.average_precision_score(positive, probabilities[:, i]),
                )
            )
            assert (each.roc_auc.value, each.average_precision.value) == pytest.approx(areas[-1], **EXACT)
        else:
            assert each.roc_auc.value is None
    if not areas:
        assert found.roc_auc.value is None
    elif len(found.classes) == 2:
        assert (found.roc_auc.value, found.average_precision.value) == pytest.approx(areas[1], **EXACT)
    else:
        assert found.roc_auc.value == pytest.approx(np.mean([area for area, _ in areas]), **EXACT)


def estimates_of(value: Any) -> Iterator[Estimate]:
    if isinstance(value, Estimate):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from estimates_of(each)
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield from estimates_of(getattr(value, name))


@settings(max_examples=30)
@given(classified(), st.integers(0, 2**32 - 1))
def test_intervals_are_ordered_and_depend_on_the_seed_alone(rows: tuple[Any, Any], seed: int) -> None:
    found = section_of(*rows, seed=seed)

    assert found == section_of(*rows, seed=seed)
    every = list(estimates_of(found))
    assert len(every) > 20
    for each in every:
        assert (each.low is None) == (each.high is None)
        if each.low is not None and each.high is not None:
            assert each.value is not None
            assert each.low <= each.high


def test_of_many_classes_the_50_most_frequent_are_listed_and_the_others_are_one() -> None:
    rng = np.random.default_rng(0)
    truth = np.concatenate([np.repeat(np.arange(10, 70), 5), np.arange(10)])
    probabilities = softmax(rng.normal(size=(len(truth), 70)) + 3 * np.eye(70)[truth])

    found = section_of(truth, probabilities)

    assert found.confusion.classes == [f"class {i}" for i in range(10, 60)] + ["(other)"]
    assert found.confusion.grouped == 20
    assert np.sum(found.confusion.counts) == len(truth)
    assert np.sum(found.confusion.counts[50]) == 60
    assert [each.name for each in found.classes] == found.confusion.classes[:50]
    predicted = probabilities.argmax(1)
    assert found.macro.f1.value == pytest.approx(sk.f1_score(truth, predicted, average="macro"), **EXACT)
    assert found.roc_auc.value == pytest.approx(sk.roc_auc_score(truth, probabilities, multi_class="ovr"), **EXACT)
    assert len(found.roc) == 11
