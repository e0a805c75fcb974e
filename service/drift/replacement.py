"""Values of a column as if it had not drifted: with the training distribution, changing as little as possible."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.drift.profile import ColumnProfile, NumberProfile, TextProfile


def as_in_training(profile: ColumnProfile, values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Values (n,) in place of `values` (n,), with the shares and quantiles of the training rows.

    As much as possible of how the column depends on the others is kept: numbers keep their order, rows keep their text
    as far as its training share allows, the others draw one. Without drift nothing changes, up to chance.
    """
    if isinstance(profile, TextProfile):
        return _texts(profile, values, rng)
    return _numbers(profile, values, rng)


def _numbers(profile: NumberProfile, values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    rows, known = len(values), np.isfinite(values)
    total = profile.missing + sum(profile.counts)
    wanted = rows - round(rows * profile.missing / max(1, total))
    found = np.full(rows, np.nan)
    if not wanted:
        return found
    # Ties in random order; missing values that shall be known come at random ranks.
    ranks = np.where(known, values, rng.permutation(np.resize(values[known], rows)) if known.any() else 0.0)
    present, absent = np.flatnonzero(known), np.flatnonzero(~known)
    chosen = np.concatenate([rng.permutation(present), rng.permutation(absent)])[:wanted]
    ordered = chosen[np.lexsort((rng.random(wanted), ranks[chosen]))]
    places = ((np.arange(wanted) + 0.5) / wanted * len(profile.quantiles)).astype(np.int64)
    found[ordered] = np.array(profile.quantiles)[places]
    return found


def _texts(profile: TextProfile, values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Other texts than those that the profile lists keep the share that they had, as far as there are any."""
    rows, listed = len(values), set(profile.texts)
    kinds = [*profile.texts, None, _Other]
    counts = np.array([*profile.counts, profile.missing, profile.other], dtype=np.float64)
    if not counts.any():
        return values.copy()
    wanted = dict(zip(kinds, _apportioned(counts / counts.sum() * rows).tolist(), strict=True))
    found = values.copy()
    left, freed = Counter(wanted), []
    for row in rng.permutation(rows).tolist():
        kind = values[row] if values[row] is None or values[row] in listed else _Other
        if left[kind] > 0:
            left[kind] -= 1
        else:
            freed.append(row)
    pool: list[Any] = [kind for kind, count in left.items() if kind is not _Other for _ in range(count)]
    for row, kind in zip(freed, rng.permutation(np.array([*pool, None], dtype=object)[:-1]), strict=False):
        found[row] = kind
    return found


class _Other:
    """Stands for all texts that a profile does not list."""


def _apportioned(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers near these, with the same sum (largest remainders)."""
    whole = np.floor(shares).astype(np.int64)
    most = np.argsort(-(shares - whole), kind="stable")[: round(shares.sum()) - whole.sum()]
    whole[most] += 1
    return whole
