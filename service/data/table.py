"""A table in memory: the columns that a job needs, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """Columns by name, all of `rows` values.

    Numbers, integers and booleans are (rows,) float64 with NaN where missing; texts are (rows,) objects, str or None.
    """

    columns: dict[str, NDArray[Any]]
    rows: int
