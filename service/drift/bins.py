"""Bins of columns: fitted to training rows, and counted in any rows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.drift.profile import ColumnProfile, NumberProfile, TextProfile
from service.reports.text import cell, number, time
from service.spec.table import ColumnType

NUMBER_BINS = 10
"""Numbers with more different values are cut at their deciles."""
TEXT_BINS = 20
"""Texts beyond the most frequent ones, of training rows and new rows together, share a bin."""
QUANTILE_POINTS = 256
MAX_TEXTS = 10_000
MAX_CHARACTERS = 500_000
"""Of the texts of a column that a profile lists."""

Counts = NDArray[np.int64]


class Binned(NamedTuple):
    """A column of the training rows and of new rows, in the same bins."""

    labels: list[str]
    training: Counts
    """(bins,)"""
    rows: Counts
    """(bins,)"""


def number_profile(column: str, kind: ColumnType, values: NDArray[np.float64]) -> NumberProfile:
    """The profile of numbers (N,), of which those that are not finite are missing."""
    known = np.sort(values[np.isfinite(values)])
    missing = len(values) - len(known)
    if not len(known):
        fields: dict[str, Any] = {"low": None, "high": None, "edges": [], "counts": [], "quantiles": []}
        return NumberProfile(column=column, type=kind, missing=missing, **fields)
    distinct = np.unique(known)
    if len(distinct) <= NUMBER_BINS:
        edges = distinct[:-1]
    else:
        deciles = np.unique(_at_shares(known, np.arange(1, NUMBER_BINS) / NUMBER_BINS))
        edges = deciles[deciles < known[-1]]
    places = np.searchsorted(edges, known, side="left")
    quantiles = _at_shares(known, (np.arange(QUANTILE_POINTS) + 0.5) / QUANTILE_POINTS)
    return NumberProfile(
        column=column,
        type=kind,
        missing=missing,
        low=float(known[0]),
        high=float(known[-1]),
        edges=edges.tolist(),
        counts=np.bincount(places, minlength=len(edges) + 1).tolist(),
        quantiles=quantiles.tolist(),
    )


def _at_shares(ordered: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest of the ordered values (N,) that at least these shares of them do not exceed."""
    places = np.ceil(shares * len(ordered) - 1e-9).astype(np.int64) - 1
    found: NDArray[np.float64] = ordered[places.clip(min=0)]
    return found


def text_profile(column: str, values: NDArray[Any]) -> TextProfile:
    """The profile of texts (N,), None where missing."""
    counted = Counter(value for value in values.tolist() if value is not None)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MAX_TEXTS]
    lengths = np.cumsum([len(text) for text, _ in ordered])
    kept = ordered[: int(np.searchsorted(lengths, MAX_CHARACTERS, side="right"))]
    known = sum(counted.values())
    return TextProfile(
        column=column,
        missing=len(values) - known,
        texts=[text for text, _ in kept],
        counts=[count for _, count in kept],
        other=known - sum(count for _, count in kept),
    )


def binned(profile: ColumnProfile, values: NDArray[Any]) -> Binned:
    """How many of the training rows and of the values (n,) are in each bin.

    Numbers: those below the training range, those of each bin, those above the range, missing ones. Texts: each of the
    most frequent texts, all other texts, missing ones.
    """
    if isinstance(profile, TextProfile):
        return _texts(profile, values)
    return Binned(_labels(profile), training_counts(profile), _counts_of(profile, values))


def training_counts(profile: NumberProfile) -> Counts:
    """(bins,) training rows in each bin of numbers."""
    return np.array([0, *profile.counts, 0, profile.missing], dtype=np.int64)


def _counts_of(profile: NumberProfile, values: NDArray[np.float64]) -> Counts:
    known = values[np.isfinite(values)]
    low, high = profile.low, profile.high
    if low is None or high is None:
        return np.array([0, len(known), len(values) - len(known)], dtype=np.int64)
    bins = len(profile.counts)
    places = 1 + np.searchsorted(profile.edges, known, side="left")
    places = np.where(known < low, 0, np.where(known > high, bins + 1, places))
    return np.append(np.bincount(places, minlength=bins + 2), len(values) - len(known)).astype(np.int64)


def _texts(profile: TextProfile, values: NDArray[Any]) -> Binned:
    """The bins depend on the sum of both counts only: by those of the training rows alone they would hold the texts
    that happen to be frequent there, and be less frequent in any other rows."""
    known = dict(zip(profile.texts, profile.counts, strict=True))
    counted = Counter(values.tolist())
    missing = counted.pop(None, 0)
    both = Counter(known)
    both.update({text: count for text, count in counted.items() if text in known or not profile.other})
    first = [text for text, _ in sorted(both.items(), key=lambda item: (-item[1], item[0]))[:TEXT_BINS]]
    training, rows = [known.get(text, 0) for text in first], [counted[text] for text in first]
    others = sum(profile.counts) + profile.other - sum(training), counted.total() - sum(rows)
    return Binned(
        [*map(cell, first), "(other)", "(missing)"],
        np.array([*training, others[0], profile.missing], dtype=np.int64),
        np.array([*rows, others[1], missing], dtype=np.int64),
    )


def _labels(profile: NumberProfile) -> list[str]:
    """The name of each bin."""
    if profile.low is None or profile.high is None:
        return ["", "(any value)", "(missing)"]
    low, *ends = [_shown(profile, value) for value in (profile.low, *profile.edges, profile.high)]
    if profile.type is ColumnType.boolean:
        return ["false", *ends, "true", "(missing)"]
    first = low if low == ends[0] else f"{low} to {ends[0]}"
    others = [f"> {start} to {end}" for start, end in pairwise(ends)]
    return [f"< {low}", first, *others, f"> {ends[-1]}", "(missing)"]


def _shown(profile: NumberProfile, value: float) -> str:
    match profile.type:
        case ColumnType.boolean:
            return str(value == 1).lower()
        case ColumnType.datetime:
            return time(value)
        case _:
            return number(value, 4)
