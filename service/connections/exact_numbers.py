"""Numbers of a database as JSON has them: none is rounded to float64 in silence."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal

LARGEST = 2**53
"""Up to it, float64 holds every whole number."""
_SCALE_0 = Decimal(1)


class ExactNumbers:
    """Converts numbers, and remembers the columns that have some which float64 cannot hold.

    A whole number beyond 2^53, such as an id, becomes text, which makes its column one of text. A fraction with more
    digits than float64 holds, such as a mean, is rounded and counted.
    """

    def __init__(self) -> None:
        self._beyond: dict[str, None] = {}  # names of columns, in the order of discovery
        self._rounded: Counter[str] = Counter()

    def json_value(self, column: str, value: int | Decimal) -> int | float | str | None:
        """The number, or text where float64 cannot hold it; None for NaN and infinity."""
        if isinstance(value, int):
            return value if -LARGEST <= value <= LARGEST else self._text(column, value)
        if not value.is_finite():
            return None
        if value.same_quantum(_SCALE_0):
            return self.json_value(column, int(value))
        number = float(value)
        if math.isinf(number):
            return self._text(column, value)
        if Decimal(repr(number)) != value:
            self._rounded[column] += 1
        return number

    def _text(self, column: str, value: int | Decimal) -> str:
        self._beyond[column] = None
        return str(value)

    @property
    def warnings(self) -> list[str]:
        """What is to be said of the columns."""
        texts = [
            f"column {name!r} is read as text: it has numbers that float64 cannot hold, such as whole ones beyond 2^53"
            for name in self._beyond
        ]
        rounded = [
            f"column {name!r}: {count:,} with more digits than float64 holds {'is' if count == 1 else 'are'} rounded; "
            "a CAST to text in the query keeps them"
            for name, count in self._rounded.items()
            if name not in self._beyond
        ]
        return texts + rounded
