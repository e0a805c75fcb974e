"""Uploaded data sets: the same bytes read with the same options are one data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from service.errors import Conflict, NotFound, QuotaExceeded
from service.lifecycle import LIVE
from service.spec.table import Dataset, DatasetSummary
from service.store.jobs import lock
from service.store.tables import datasets, jobs
from service.store.tenancy import own, tenant_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select

_COLUMNS = [datasets.c[name] for name in Dataset.model_fields if name != "object"]
_SUMMARY = [datasets.c[name] for name in DatasetSummary.model_fields if name != "object"]


def add(connection: Connection, dataset: Dataset, *, path: str, options: str) -> tuple[Dataset, bool]:
    """Store the row of a data set whose Parquet file is safe at `path`; (the known one, False) for known bytes.

    `options`: how the bytes were read, as canonical JSON.
    """
    row = {**dataset.model_dump(exclude={"object"}), "path": path, "options": options}
    row["tenant"] = tenant_of(connection)
    row["column_count"] = len(dataset.columns)
    row["columns"] = [column.model_dump(mode="json") for column in dataset.columns]
    row["read_as"] = dataset.read_as.model_dump(mode="json")
    try:
        with connection.begin_nested():
            connection.execute(insert(datasets), row)
    except IntegrityError:
        known = same(connection, dataset.sha256, options)
        if known is None:
            raise
        return known, False
    return dataset, True


def check_quota(connection: Connection, max_bytes: int, *, more: int = 0) -> None:
    """Raise QuotaExceeded when all data sets together take more than `max_bytes`, or would with so many bytes more."""
    total = select(func.coalesce(func.sum(datasets.c.parquet_bytes), 0)).where(own(connection, datasets))
    stored = int(connection.scalar(total) or 0)
    if stored + more > max_bytes:
        raise QuotaExceeded(
            f"with this one, the stored data sets would take more than the {max_bytes:,} bytes that they may together:"
            " delete some that are not needed"
        )


def same(connection: Connection, sha256: str, options: str) -> Dataset | None:
    """The data set that was made from these bytes with these options, if there is one."""
    alike = and_(own(connection, datasets), datasets.c.sha256 == sha256, datasets.c.options == options)
    query = select(*_COLUMNS).where(alike)
    row = connection.execute(query).first()
    return None if row is None else _dataset(row)


def get(connection: Connection, dataset_id: str) -> Dataset:
    """The data set of this id; raises NotFound."""
    query = select(*_COLUMNS).where(own(connection, datasets), datasets.c.id == dataset_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no data set {dataset_id!r}")
    return _dataset(row)


def path_of(connection: Connection, dataset_id: str) -> str:
    """The key of its Parquet file; raises NotFound."""
    query = select(datasets.c.path).where(own(connection, datasets), datasets.c.id == dataset_id)
    path = connection.scalar(query)
    if path is None:
        raise NotFound(f"no data set {dataset_id!r}")
    return str(path)


def find(connection: Connection, *, limit: int, after: str | None = None) -> list[Dataset]:
    """Data sets, newest first, at most `limit`, older than the data set `after`."""
    query = _newest(connection, select(*_COLUMNS), limit, after)
    return [_dataset(row) for row in connection.execute(query)]


def summaries(connection: Connection, *, limit: int, after: str | None = None) -> list[DatasetSummary]:
    """The same without what is known of their columns, which is neither read nor parsed: megabytes of a wide table."""
    query = _newest(connection, select(*_SUMMARY), limit, after)
    return [DatasetSummary.model_validate(dict(row._mapping)) for row in connection.execute(query)]


def _newest(connection: Connection, query: Select[Any], limit: int, after: str | None) -> Select[Any]:
    query = query.where(own(connection, datasets))
    if after is not None:
        query = query.where(datasets.c.id < after)
    return query.order_by(datasets.c.id.desc()).limit(limit)


def remove(connection: Connection, dataset_id: str) -> str:
    """Delete it; the key of its file, which nothing names any more. Raises NotFound, and Conflict while a live job
    needs it."""
    path = path_of(connection, dataset_id)
    this = and_(own(connection, datasets), datasets.c.id == dataset_id)
    # On Postgres a job that names the data set waits for this lock, or we for it; on SQLite writers wait anyway.
    connection.execute(select(datasets.c.id).where(this).with_for_update())
    needs = and_(own(connection, jobs), jobs.c.dataset_id == dataset_id, jobs.c.status.in_(LIVE))
    user = connection.scalar(select(jobs.c.id).where(needs).limit(1))
    if user is not None:
        raise Conflict(f"job {user!r} still needs this data set")
    lock(
        connection, and_(own(connection, jobs), jobs.c.dataset_id == dataset_id)
    )  # ended ones, which lose their data set
    connection.execute(delete(datasets).where(this))
    return path


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset.model_validate(dict(row._mapping))
