"""Cache of prepared data sets in a trainer, so that the next job on the same data starts at once."""

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
class TableFile:
    """The Parquet file of a data set, and its SHA-256 at the upload."""

    parquet: Path
    sha256: str


class PreparedCache:
    """An LRU cache of prepared rows, keyed by everything that they depend on, bounded in bytes."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Prepared] = OrderedDict()

    def get_or_prepare(self, resolved: Resolved, table: TableFile | None) -> Prepared:
        """The prepared rows of this job. Raises DatasetCorrupt if the file is missing or has changed."""
        preparation = resolved.preparation
        key = preparation.key
        if key not in self._entries:
            if table is not None and not (table.parquet.exists() and sha256_of(table.parquet) == table.sha256):
                raise DatasetCorrupt("the stored rows are missing or changed; upload the file again")
            self._entries[key] = prepare(preparation, table.parquet if table else None)
        self._entries.move_to_end(key)
        while len(self._entries) > 1 and sum(map(_size, self._entries.values())) > MAX_BYTES:
            self._entries.popitem(last=False)
        return self._entries[key]


def _size(data: Prepared) -> int:
    """Bytes of the arrays."""
    parts = (data.train, data.validation, data.test)
    return sum(each.nbytes for rows in parts for each in (rows.x, rows.y, rows.codes) if each is not None)
