"""The rows that a trainer had last, ready to train on: the next job on the same data starts at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from service.data.prepare import Prepared, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from service.spec.resolved import Resolved

MAX_BYTES = 512 * 1024**2


class Shelf:
    """Prepared rows by what they were made from, the longest unused thrown out first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def take(self, resolved: Resolved, parquet: Path | None) -> Prepared:
        """As `prepare`, whose result it keeps. Raises DatasetCorrupt."""
        spec = resolved.spec
        key = "".join(part.model_dump_json() for part in (spec.data, spec.split, spec.preprocess)) + spec.task
        if key not in self._kept:
            self._kept[key] = prepare(resolved, parquet)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > MAX_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]


def _size(data: Prepared) -> int:
    """Bytes of the arrays."""
    return sum(rows.x.nbytes + rows.y.nbytes for rows in (data.train, data.validation, data.test))
