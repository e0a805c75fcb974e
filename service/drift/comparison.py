"""Compares a column of new rows with the profile of the training rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.drift.bins import binned
from service.drift.profile import ColumnProfile, NumberProfile
from service.drift.report import LARGE, MODERATE, BinShares, ColumnDrift, Drift
from service.drift.stability import numbers_without_drift, psi, texts_without_drift
from service.reports.text import cell

MAX_UNSEEN = 5
"""Texts that are listed."""


def compared(profile: ColumnProfile, values: NDArray[Any], columns: int) -> ColumnDrift:
    """By how much values (n,) differ from the training rows; one of `columns` that are compared at once.

    Numbers are float64, not finite where missing; texts are objects, None where missing.
    """
    labels, training, counts = binned(profile, values)
    index, rows = float(psi(training, counts)), len(values)
    if isinstance(profile, NumberProfile):
        expected, limit = numbers_without_drift(profile, rows, columns)
    else:
        expected, limit = texts_without_drift(training, counts, columns)
    unseen, texts = _unseen(profile, values)
    p, q = training / max(1, training.sum()), counts / max(1, rows)
    bins = zip(labels, p.tolist(), q.tolist(), strict=True)
    return ColumnDrift(
        column=profile.column,
        type=profile.type,
        drift=_level(index, limit),
        psi=index,
        psi_expected=expected,
        psi_limit=limit,
        missing=float(q[-1]),
        training_missing=float(p[-1]),
        unseen=None if unseen is None else unseen / max(1, rows),
        unseen_texts=texts,
        bins=[BinShares(label=label, training=a, rows=b) for label, a, b in bins if a or b],
    )


def _level(index: float, limit: float) -> Drift:
    if index < MODERATE or index <= limit:
        return "none"
    return "moderate" if index < LARGE else "large"


def _unseen(profile: ColumnProfile, values: NDArray[Any]) -> tuple[int | None, list[str]]:
    """How many values no training row has, and the most frequent of these texts."""
    if isinstance(profile, NumberProfile):
        known = values[np.isfinite(values)]
        if profile.low is None or profile.high is None:
            return len(known), []
        return int(np.count_nonzero((known < profile.low) | (known > profile.high))), []
    if profile.other:
        return None, []
    listed = set(profile.texts)
    counted = Counter(value for value in values.tolist() if value is not None and value not in listed)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return sum(counted.values()), [cell(text) for text, _ in ordered[:MAX_UNSEEN]]
