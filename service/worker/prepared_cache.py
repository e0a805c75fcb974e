"""Cache of prepared data sets in a trainer, so that the next job on the same data starts at once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.artifacts import sha256_of
from service.data.preprocess.dataset import Prepared, prepare_table
from service.data.preprocess.sources import load, source_columns
from service.data.preprocess.streamed import StreamedRows
from service.errors import DatasetCorrupt, ServiceError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.data.preprocess.preprocessing import Table
    from service.spec.resolved import Preparation, Resolved
    from service.worker.prepared_files import PreparedFiles

MAX_BYTES = 512 * 1024**2
MIN_SHARED_BYTES = 1024**2  # of a row set; smaller ones are prepared faster than shared


@dataclass(frozen=True)
class TableFile:
    """The Parquet file of a data set, and its SHA-256 at the upload."""

    parquet: Path
    sha256: str


class PreparedCache:
    """An LRU cache of prepared rows, keyed by everything that they depend on, bounded in bytes."""

    def __init__(self, files: PreparedFiles | None = None, *, shared: bool = True) -> None:
        """`files`: of rows that are streamed and, if `shared`, of large row sets that the trainers of a worker share;
        None: files cannot be written, or this is the only trainer."""
        self._files, self._shared = files, shared
        self._entries: OrderedDict[str, Prepared] = OrderedDict()

    def get_or_prepare(self, jobs: Sequence[Resolved], table: TableFile | None) -> list[Prepared | ServiceError]:
        """The prepared rows of each job, or why they cannot be prepared; jobs on the same rows share an object.

        The jobs have the same table, which is verified and read once, however many splits of it they ask for.
        """
        source = _Source(table)
        found: dict[str, Prepared | ServiceError] = {}
        keys = [job.preparation.key for job in jobs]
        for key, job in zip(keys, jobs, strict=True):
            if key not in found:
                found[key] = self._prepared(key, job, source)
        while len(self._entries) > 1 and sum(each.nbytes for each in self._entries.values()) > MAX_BYTES:
            self._entries.popitem(last=False)
        return [found[key] for key in keys]

    def _prepared(self, key: str, job: Resolved, source: _Source) -> Prepared | ServiceError:
        def prepare() -> Prepared:
            return prepare_table(job.preparation, source.table(job.preparation))

        if key not in self._entries:
            shared = self._files if self._shared and job.row_set_bytes >= MIN_SHARED_BYTES else None
            try:
                if job.window_rows is not None:
                    self._entries[key] = self._streamed(key, job, source)
                else:
                    self._entries[key] = prepare() if shared is None else shared.get_or_prepare(key, prepare)
            except ServiceError as error:
                return error
        self._entries.move_to_end(key)
        return self._entries[key]

    def _streamed(self, key: str, job: Resolved, source: _Source) -> Prepared:
        if self._files is None:
            raise StorageError("rows cannot be streamed: the worker has no folder for temporary files")
        files = self._files
        return files.get_or_stream(key, lambda: StreamedRows(job.preparation, source.file(), files.count_progress))


class _Source:
    """Loads a table once for all jobs that read the same columns of it."""

    def __init__(self, file: TableFile | None) -> None:
        self._file = file
        self._verified = file is None
        self._columns: list[str] = []
        self._table: Table | None = None

    def file(self) -> Path:
        """The Parquet file. Raises DatasetCorrupt if it is missing or has changed."""
        assert self._file is not None
        if not self._verified:
            if not (self._file.parquet.exists() and sha256_of(self._file.parquet) == self._file.sha256):
                raise DatasetCorrupt("the stored rows are missing or changed; upload the file again")
            self._verified = True
        return self._file.parquet

    def table(self, preparation: Preparation) -> Table:
        """The columns that this preparation needs. Raises DatasetCorrupt if the file is missing or has changed."""
        if not self._verified:
            self.file()
        columns = source_columns(preparation)
        if self._table is None or columns != self._columns:
            self._table = load(preparation, self._file.parquet if self._file else None)
            self._columns = columns
        return self._table
