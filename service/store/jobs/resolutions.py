"""Stores and reads resolved specs: workers of any version train exactly what was resolved at submission."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import NotFound
from service.spec.data import DatasetData
from service.spec.resolved_json import InputsDocuments, decided, restored
from service.store.schema import dataset_inputs, jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from service.spec.job import JobSpec
    from service.spec.resolve import Resolved


def stored(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of new jobs, with `resolved` in its stored form.

    The input encoding of a data set is stored once and shared by jobs. It is part of both keys: jobs with
    different encodings are never trained as one array.
    """
    documents, shared = InputsDocuments(), dict[tuple[str, str], dict[str, Any]]()
    ready = []
    for row in rows:
        resolved: Resolved = row["resolved"]
        document, data = documents.of(resolved), resolved.spec.data
        inputs: Any = document.content
        if isinstance(data, DatasetData):
            inputs = document.sha256
            shared[data.id, inputs] = {"tenant": row["tenant"], "inputs": document.content}
        keys = {
            name: hashlib.sha256(f"{row[name]} {document.sha256}".encode()).hexdigest()
            for name in ("array_key", "shape_key")
        }
        ready.append({**row, **keys, "resolved": {**decided(resolved), "inputs": inputs}})
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert
    for (dataset_id, sha256), content in sorted(shared.items(), key=lambda item: item[0]):
        this = dataset_inputs.c.dataset_id == dataset_id, dataset_inputs.c.sha256 == sha256
        if (
            connection.scalar(select(dataset_inputs.c.sha256).where(in_tenant(connection, dataset_inputs), *this))
            is None
        ):
            values = {"dataset_id": dataset_id, "sha256": sha256, **content}
            connection.execute(insert(dataset_inputs).values(values).on_conflict_do_nothing())
    return ready


def read(connection: Connection, jobs_alike: Sequence[tuple[JobSpec, Mapping[str, Any]]]) -> list[Resolved]:
    """Restore jobs from (spec, stored `resolved`); all must share one key, and so their input encoding.

    Raises NotFound when their data set was deleted.
    """
    spec, first = jobs_alike[0]
    if isinstance(spec.data, DatasetData):
        this = dataset_inputs.c.dataset_id == spec.data.id, dataset_inputs.c.sha256 == first["inputs"]
        query = select(dataset_inputs.c.inputs).where(in_tenant(connection, dataset_inputs), *this)
        inputs = connection.scalar(query)
        if inputs is None:
            raise NotFound(f"no data set {spec.data.id!r}")  # its inputs are deleted with it
    else:
        inputs = first["inputs"]
    return [restored(spec, resolved, inputs) for spec, resolved in jobs_alike]


def of_job(connection: Connection, job_id: str, spec: JobSpec) -> Resolved | None:
    """What was resolved for this job; None if an older version did not store it or the data set was deleted."""
    found = connection.scalar(select(jobs.c.resolved).where(in_tenant(connection, jobs), jobs.c.id == job_id))
    try:
        return None if found is None else read(connection, [(spec, found)])[0]
    except NotFound:
        return None
