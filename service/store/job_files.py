"""Files of ended jobs beside their checkpoints, such as their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from service.domain.job_file import JobFile, JobFileKind
from service.errors import NotFound
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.store.schema import job_files, jobs
from service.store.tenancy import CachedSelect, in_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection


_ONE = CachedSelect(
    select(job_files).where(job_files.c.job_id == bindparam("job_id"), job_files.c.kind == bindparam("kind")), job_files
)


def find(connection: Connection, job_id: str, kind: JobFileKind) -> JobFile | None:
    """The job's file of this kind, if it has one."""
    row = _ONE.execute(connection, job_id=job_id, kind=kind).first()
    return None if row is None else JobFile.model_validate(row._mapping)


def add(connection: Connection, files: Sequence[tuple[str, JobFile]], tenants: Mapping[str, str]) -> None:
    """Store the rows of new files, given as (job, file); `tenants`: of the jobs."""
    rows: list[dict[str, Any]] = [
        {"job_id": job_id, "tenant": tenants[job_id], **file.model_dump()} for job_id, file in files
    ]
    if rows:
        connection.execute(insert(job_files), rows)


def replace(connection: Connection, job_id: str, file: JobFile, tenant: str) -> None:
    """Store the row of a file in place of an earlier one of its kind; raises NotFound if the job was deleted.

    The job is locked: another process may store the same kind of file.
    """
    job = select(jobs.c.id).where(in_tenant(connection, jobs), jobs.c.id == job_id)
    if connection.scalar(job.with_for_update()) is None:
        raise NotFound(f"no job {job_id!r}")
    this = in_tenant(connection, job_files), job_files.c.job_id == job_id, job_files.c.kind == file.kind
    old = set(connection.scalars(select(job_files.c.path).where(*this))) - {file.path}
    connection.execute(delete(job_files).where(*this))
    add(connection, [(job_id, file)], {job_id: tenant})
    garbage.discard(connection, old - referenced(connection, old))
