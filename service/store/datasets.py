"""Data sets; deduplicated by SHA-256 and reading options, which name the connection of those read by reference."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from service.domain.status import ENDED
from service.errors import Conflict, IdempotencyMismatch, NotFound, QuotaExceeded
from service.spec.table import Dataset, DatasetSummary
from service.store.engine import allow_long_statements
from service.store.jobs.jobs import lock
from service.store.maintenance import garbage
from service.store.schema import datasets, jobs
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row, Select

_COLUMNS = [datasets.c[name] for name in Dataset.model_fields if name != "object"]
_SUMMARY = [datasets.c[name] for name in DatasetSummary.model_fields if name != "object"]


@dataclass(frozen=True)
class Import:
    """How a data set came to be read from a connection."""

    series: str | None  # id of version 1 of the data set that it refreshes; null: it is version 1
    idempotency_key: str | None = None
    request_sha256: str | None = None


def add(
    connection: Connection, dataset: Dataset, *, path: str, options: str, read: Import | None = None
) -> tuple[Dataset, bool]:
    """Insert a data set whose Parquet file is stored at `path`.

    (existing one, False) for a duplicate, and for a repeated Idempotency-Key. A refresh gets the next version of its
    series. `options`: reading options and, if it was read from a connection, its reference, as canonical JSON.
    Raises IdempotencyMismatch, and Conflict for two refreshes at a time.
    """
    if read is not None and read.series is not None:
        series = in_tenant(connection, datasets), datasets.c.series == read.series
        latest = select(func.max(datasets.c.version)).where(*series)
        dataset = dataset.model_copy(update={"version": int(connection.scalar(latest) or 1) + 1})
    row = {**dataset.model_dump(exclude={"object"}), "path": path, "options": options}
    row["tenant"] = tenant_of(connection)
    row["column_count"] = len(dataset.columns)
    row["columns"] = _profile(dataset)
    row["profile_bytes"] = profile_bytes(dataset)
    row["read_as"] = dataset.read_as.model_dump(mode="json")
    row["provenance"] = None if dataset.provenance is None else dataset.provenance.model_dump(mode="json")
    if read is not None:
        row["series"] = read.series or dataset.id
        row |= {"idempotency_key": read.idempotency_key, "request_sha256": read.request_sha256}
    try:
        with connection.begin_nested():
            connection.execute(insert(datasets), row)
    except IntegrityError:
        known = find_same(connection, dataset.sha256, options)
        if known is None and read is not None:
            known = _before(connection, read)
        if known is None:
            raise
        return known, False
    return dataset, True


def _before(connection: Connection, read: Import) -> Dataset | None:
    """What the same Idempotency-Key created a moment ago; raises Conflict where a refresh took the version number."""
    key = read.idempotency_key
    known = None if key is None else by_idempotency_key(connection, key, read.request_sha256)
    if known is None and read.series is not None:
        raise Conflict("another refresh of this data set has ended at the same time: try again")
    return known


def by_idempotency_key(connection: Connection, key: str, request_sha256: str | None) -> Dataset | None:
    """The data set that this Idempotency-Key created, if any; raises IdempotencyMismatch for another request."""
    query: Select[Any] = select(*_COLUMNS, datasets.c.request_sha256)
    row = connection.execute(query.where(in_tenant(connection, datasets), datasets.c.idempotency_key == key)).first()
    if row is not None and row.request_sha256 != request_sha256:
        raise IdempotencyMismatch
    return None if row is None else _dataset(row)


@dataclass(frozen=True)
class Referenced:
    """What a refresh needs of a data set that was read from a connection."""

    name: str | None
    series: str
    reference: str  # canonical JSON


def referenced(connection: Connection, dataset_id: str) -> Referenced:
    """How a data set was read; raises NotFound, and Conflict if it was uploaded."""
    columns = datasets.c.name, datasets.c.series, datasets.c.options
    query = select(*columns).where(in_tenant(connection, datasets), datasets.c.id == dataset_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no data set {dataset_id!r}")
    if row.series is None:
        raise Conflict("this data set was uploaded: one that is read from a connection can be refreshed")
    return Referenced(row.name, row.series, row.options)


def profile_bytes(dataset: Dataset) -> int:
    """Size of the column profiles and the provenance in the database, in bytes."""
    provenance = dataset.provenance
    return len(json.dumps(_profile(dataset))) + (0 if provenance is None else len(provenance.model_dump_json()))


def _profile(dataset: Dataset) -> list[dict[str, Any]]:
    return [column.model_dump(mode="json") for column in dataset.columns]


def check_quota(connection: Connection, max_bytes: int, *, more: int = 0) -> None:
    """Raise QuotaExceeded if the tenant's data sets, with `more` bytes, would take more than `max_bytes`.

    Counts Parquet files and column profiles.
    """
    size = datasets.c.parquet_bytes + datasets.c.profile_bytes
    total = select(func.coalesce(func.sum(size), 0)).where(in_tenant(connection, datasets))
    stored = int(connection.scalar(total) or 0)
    if stored + more > max_bytes:
        raise QuotaExceeded(
            f"with this data set, stored data sets would exceed the quota of {max_bytes:,} bytes:"
            " delete some that are not needed"
        )


def find_same(connection: Connection, sha256: str, options: str) -> Dataset | None:
    """The data set with this SHA-256 and these reading options, if any."""
    alike = and_(in_tenant(connection, datasets), datasets.c.sha256 == sha256, datasets.c.options == options)
    query = select(*_COLUMNS).where(alike)
    row = connection.execute(query).first()
    return None if row is None else _dataset(row)


def get(connection: Connection, dataset_id: str) -> Dataset:
    """The data set of this id; raises NotFound."""
    query = select(*_COLUMNS).where(in_tenant(connection, datasets), datasets.c.id == dataset_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no data set {dataset_id!r}")
    return _dataset(row)


def path_of(connection: Connection, dataset_id: str) -> str:
    """Artifact key of its Parquet file; raises NotFound."""
    return file_of(connection, dataset_id)[0]


def file_of(connection: Connection, dataset_id: str) -> tuple[str, str]:
    """(artifact key, SHA-256) of its Parquet file; raises NotFound."""
    columns = datasets.c.path, datasets.c.parquet_sha256
    query = select(*columns).where(in_tenant(connection, datasets), datasets.c.id == dataset_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no data set {dataset_id!r}")
    return row.path, row.parquet_sha256


def sources(connection: Connection, dataset_ids: Collection[str]) -> dict[str, tuple[str | None, str]]:
    """(name, SHA-256 of the uploaded file) of those of these data sets that exist, by id."""
    these = in_tenant(connection, datasets), datasets.c.id.in_(list(dataset_ids))
    rows = connection.execute(select(datasets.c.id, datasets.c.name, datasets.c.sha256).where(*these))
    return {row.id: (row.name, row.sha256) for row in rows}


def find(connection: Connection, *, limit: int, after: str | None = None) -> list[Dataset]:
    """Data sets, newest first, at most `limit`, older than the data set `after`."""
    query = _page(connection, select(*_COLUMNS), limit, after)
    return [_dataset(row) for row in connection.execute(query)]


def count_within(connection: Connection, *, limit: int, after: str | None, max_bytes: int) -> int:
    """How many results of `find` fit into `max_bytes` of column profiles; at least one."""
    sizes = connection.scalars(_page(connection, select(datasets.c.profile_bytes), limit, after))
    return max(1, sum(1 for total in accumulate(sizes) if total <= max_bytes))


def summaries(connection: Connection, *, limit: int, after: str | None = None) -> list[DatasetSummary]:
    """As `find`, without column profiles: those of a wide table take megabytes to read and parse."""
    query = _page(connection, select(*_SUMMARY), limit, after)
    return [DatasetSummary.model_validate(dict(row._mapping), extra="ignore") for row in connection.execute(query)]


def _page(connection: Connection, query: Select[Any], limit: int, after: str | None) -> Select[Any]:
    query = query.where(in_tenant(connection, datasets))
    if after is not None:
        query = query.where(datasets.c.id < after)
    return query.order_by(datasets.c.id.desc()).limit(limit)


def remove(connection: Connection, dataset_id: str) -> None:
    """Delete a data set; its file is collected later. Raises NotFound, and Conflict while a live job needs it."""
    allow_long_statements(connection)  # hundreds of thousands of ended jobs may refer to it
    path = path_of(connection, dataset_id)
    this = and_(in_tenant(connection, datasets), datasets.c.id == dataset_id)
    # On Postgres, serializes with inserts of jobs that refer to it; on SQLite, writers are serialized anyway.
    connection.execute(select(datasets.c.id).where(this).with_for_update())
    live = and_(in_tenant(connection, jobs), jobs.c.dataset_id == dataset_id, jobs.c.status.not_in(ENDED))
    job_id = connection.scalar(select(jobs.c.id).where(live).limit(1))
    if job_id is not None:
        raise Conflict(f"job {job_id!r} still needs this data set")
    # Ended jobs stay; the deletion sets their foreign key to NULL.
    lock(connection, and_(in_tenant(connection, jobs), jobs.c.dataset_id == dataset_id))
    connection.execute(delete(datasets).where(this))
    garbage.discard(connection, [path])


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset.model_validate(dict(row._mapping), extra="ignore")  # a newer version may store more fields
