"""What was resolved at submission, as the rows hold it: workers train exactly that, whatever version they are of."""

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
    """These new jobs' rows with what is stored in place of their `resolved`.

    How the columns of a data set become inputs is stored once for all jobs that share it. Jobs for which it differs are
    not trained as one array, though they may ask for the same.
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
        array_key = hashlib.sha256(f"{row['array_key']} {document.sha256}".encode()).hexdigest()
        ready.append({**row, "resolved": {**decided(resolved), "inputs": inputs}, "array_key": array_key})
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
    """What (spec, `resolved` of its row) says of jobs that share their inputs, as those with one `array_key` do.

    Raises NotFound when their data set is gone.
    """
    spec, first = jobs_alike[0]
    if isinstance(spec.data, DatasetData):
        this = dataset_inputs.c.dataset_id == spec.data.id, dataset_inputs.c.sha256 == first["inputs"]
        query = select(dataset_inputs.c.inputs).where(in_tenant(connection, dataset_inputs), *this)
        inputs = connection.scalar(query)
        if inputs is None:
            raise NotFound(f"no data set {spec.data.id!r}")  # with which it goes
    else:
        inputs = first["inputs"]
    return [restored(spec, resolved, inputs) for spec, resolved in jobs_alike]


def of_job(connection: Connection, job_id: str, spec: JobSpec) -> Resolved | None:
    """What was resolved for this job of this spec; None where an older version did not store it, or its data set is
    gone."""
    found = connection.scalar(select(jobs.c.resolved).where(in_tenant(connection, jobs), jobs.c.id == job_id))
    try:
        return None if found is None else read(connection, [(spec, found)])[0]
    except NotFound:
        return None
