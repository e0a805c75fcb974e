"""The rows that a trainer had last, ready to train on: the next job on the same data starts at once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.artifacts import sha256_of
from service.data.preprocess.dataset import Prepared, prepare
from service.errors import DatasetCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from service.spec.resolved import Resolved

MAX_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Stored:
    """The Parquet file of a data set, and the SHA-256 that it had when it was stored."""

    parquet: Path
    sha256: str


class PreparedCache:
    """Prepared rows by what they were made from, the longest unused thrown out first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def take(self, resolved: Resolved, stored: Stored | None) -> Prepared:
        """As `prepare`, whose result it keeps. Raises DatasetCorrupt if the file is not what was stored."""
        preparation = resolved.preparation
        key = preparation.key
        if key not in self._kept:
            if stored is not None and not (stored.parquet.exists() and sha256_of(stored.parquet) == stored.sha256):
                raise DatasetCorrupt("the stored rows are missing or changed; upload the file again")
            self._kept[key] = prepare(preparation, stored.parquet if stored else None)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > MAX_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]


def _size(data: Prepared) -> int:
    """Bytes of the arrays."""
    return sum(rows.x.nbytes + rows.y.nbytes for rows in (data.train, data.validation, data.test))
