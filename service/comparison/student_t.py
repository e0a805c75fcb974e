"""Student's t distribution, in pure Python: the API has no SciPy."""

from __future__ import annotations

import math


def two_sided_p(t: float, df: int) -> float:
    """The probability that |T| is at least |t|, for T with `df` (1 or more) degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4: a finite sum, exact for whole `df` to
    an absolute error of about 1e-15.
    """
    angle = math.atan2(abs(t), math.sqrt(df))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = df % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1 + odd, df, 2):
        total += term
        term *= square * step / (step + 1)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(max(1.0 - inside, 0.0), 1.0)
