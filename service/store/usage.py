"""Usage of a tenant: numbers of jobs, and bytes in files and in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select, union

from service.domain.status import LIVE, Status
from service.spec.base import FrozenModel
from service.store.model_tables import model_member_files, model_members, model_samples, model_version_files
from service.store.schema import checkpoints, dataset_inputs, datasets, job_files, jobs
from service.store.tenancy import in_tenant
from service.store.upload_tables import uploads

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row, Table

HISTORY_ROW_BYTES = 400
"""Approximate size of an epoch's row with its index entry."""


class StoredBytes(FrozenModel):
    """Stored bytes of one tenant, by kind."""

    datasets: int
    """Parquet files of data sets."""
    profiles: int
    """Column profiles in the database."""
    checkpoints: int
    """Checkpoint files: best, last, and saved states, and members of models. A file that several jobs or models share
    counts once."""
    job_files: int
    """Other files of jobs and of versions of models: predictions of validation and test rows, reports, profiles."""
    histories: int
    """Recorded epochs in the database, estimated from their number."""
    specs: int
    """Specs and resolved specs of jobs in the database, with inline rows, and the specs of members of models."""
    samples: int
    """Rows in the database that versions of models were asked to predict, where the server samples them."""
    uploads: int
    """Files that are being uploaded in parts, by their whole size."""
    expected: int
    """Estimated size of files that live jobs have yet to write."""

    @property
    def total(self) -> int:
        """Sum of all kinds."""
        return sum(getattr(self, kind) for kind in type(self).model_fields)


@dataclass(frozen=True)
class Usage:
    """Usage of one tenant."""

    waiting: int
    """Queued and paused jobs."""
    running: int
    """Running jobs."""
    stored: StoredBytes
    """Stored bytes."""


def read(connection: Connection) -> Usage:
    """Compute the usage of the connection's tenant from its rows.

    Reads each job of the tenant, about 150 ms for 100,000: frequent callers should cache the result.
    """
    by_status = {row.status: row for row in connection.execute(_jobs(connection))}
    parquet, profiles = connection.execute(
        select(_sum(datasets.c.parquet_bytes), _sum(datasets.c.profile_bytes)).where(in_tenant(connection, datasets))
    ).one()
    of_members, of_samples = (
        select(_sum(_size(connection, column))).where(in_tenant(connection, column.table))
        for column in (model_members.c.spec, model_samples.c.row)
    )

    def count(*statuses: Status) -> int:
        return sum(by_status[status].number for status in statuses if status in by_status)

    return Usage(
        waiting=count(Status.queued, Status.paused),
        running=count(Status.running),
        stored=StoredBytes(
            datasets=int(parquet),
            profiles=int(profiles),
            checkpoints=_files(connection, checkpoints, model_members),
            job_files=_files(connection, job_files, model_member_files, model_version_files),
            histories=HISTORY_ROW_BYTES * sum(int(row.epochs) for row in by_status.values()),
            specs=sum(int(row.specs) for row in by_status.values())
            + _inputs(connection)
            + int(connection.scalar(of_members) or 0),
            samples=int(connection.scalar(of_samples) or 0),
            uploads=_uploads(connection),
            expected=_expected(connection, by_status),
        ),
    )


def _files(connection: Connection, *owners: Table) -> int:
    """Bytes of the files that rows of these tables name, each file once."""
    files = (select(table.c.path, table.c.size_bytes).where(in_tenant(connection, table)) for table in owners)
    return int(connection.scalar(select(_sum(union(*files).subquery().c.size_bytes))) or 0)


def _uploads(connection: Connection) -> int:
    incomplete = in_tenant(connection, uploads), uploads.c.dataset_id.is_(None)
    return int(connection.scalar(select(_sum(uploads.c.size_bytes)).where(*incomplete)) or 0)


def _jobs(connection: Connection) -> Any:
    live = case((jobs.c.status.in_(LIVE), jobs.c.expected_bytes), else_=0)
    return (
        select(
            jobs.c.status,
            func.count().label("number"),
            _sum(jobs.c.epoch).label("epochs"),
            _sum(_size(connection, jobs.c.spec) + _size(connection, jobs.c.resolved)).label("specs"),
            _sum(live).label("expected"),
        )
        .where(in_tenant(connection, jobs))
        .group_by(jobs.c.status)
    )


def _expected(connection: Connection, by_status: dict[str, Row[Any]]) -> int:
    """Expected bytes of live jobs, less what running and paused ones have written; queued ones have hardly any."""
    queued, begun = 0, 0
    for status, row in by_status.items():
        if status == Status.queued:
            queued += int(row.expected)
        else:
            begun += int(row.expected)
    if not begun:
        return queued
    mine = checkpoints.join(jobs, jobs.c.id == checkpoints.c.job_id)
    busy = in_tenant(connection, jobs, checkpoints), jobs.c.status.in_([Status.running, Status.paused])
    has = connection.scalar(select(_sum(checkpoints.c.size_bytes)).select_from(mine).where(*busy))
    return queued + max(begun - int(has or 0), 0)


def _inputs(connection: Connection) -> int:
    """Size of shared input encodings: megabytes for columns with many categories."""
    mine = dataset_inputs.join(datasets, datasets.c.id == dataset_inputs.c.dataset_id)
    size = _sum(_size(connection, dataset_inputs.c.inputs))
    return int(connection.scalar(select(size).select_from(mine).where(in_tenant(connection, datasets))) or 0)


def _size(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    """Stored size of a JSON column in bytes, without reading large values where the database can."""
    if connection.dialect.name == "postgresql":
        measure = func.pg_column_size
    else:
        dbapi: Any = connection.dialect.dbapi
        measure = func.octet_length if dbapi.sqlite_version_info >= (3, 43) else func.length
    return func.coalesce(measure(column), 0)


def _sum(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0)
