"""Files of ended jobs beside their checkpoints, such as their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from service.domain.job_file import JobFile, JobFileKind
from service.store.schema import job_files
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection


def find(connection: Connection, job_id: str, kind: JobFileKind) -> JobFile | None:
    """The job's file of this kind, if it has one."""
    this = in_tenant(connection, job_files), job_files.c.job_id == job_id, job_files.c.kind == kind
    row = connection.execute(select(job_files).where(*this)).first()
    return None if row is None else JobFile.model_validate(row._mapping)


def add(connection: Connection, files: Sequence[tuple[str, JobFile]], tenants: Mapping[str, str]) -> None:
    """Store the rows of new files, given as (job, file); `tenants`: of the jobs."""
    rows: list[dict[str, Any]] = [
        {"job_id": job_id, "tenant": tenants[job_id], **file.model_dump()} for job_id, file in files
    ]
    if rows:
        connection.execute(insert(job_files), rows)
