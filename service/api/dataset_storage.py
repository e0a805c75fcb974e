"""Stores a table: from files to Parquet with its profile, then its row. Blocks; the quota is checked on the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from service.data.processes.ingest import ingest_files
from service.spec.table import Dataset
from service.store import datasets
from service.store.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from service.api.context import RequestContext
    from service.api.quota import Reserved
    from service.spec.data_reference import Provenance
    from service.spec.read_options import ReadOptions
    from service.store.datasets import Import


@dataclass(frozen=True)
class Source:
    """The files of a table, and what makes another one the same."""

    files: Mapping[str, Path]  # by names for messages
    sha256: str
    size_bytes: int
    reading: ReadOptions
    canonical: str  # reading options and, by reference, the connection and the path or query; as canonical JSON
    name: str | None
    provenance: Provenance | None = None
    read: Import | None = None
    warnings: Sequence[str] = ()


def store(context: RequestContext, folder: Path, source: Source, reservation: Reserved) -> tuple[Dataset, bool]:
    """(the data set, True), or (the existing one, False) for the same bytes read in the same way.

    `folder`: a scratch folder of the artifacts.
    """
    with context.database.reading() as connection:
        known = datasets.find_same(connection, source.sha256, source.canonical)
        if known is None:
            datasets.check_quota(connection, context.state.settings.max_dataset_bytes, more=1)
    if known is not None:
        return known, False
    parquet, dataset_id = folder / "data.parquet", new_id("ds")
    ingested = ingest_files(source.files, parquet, source.reading, context.state.file_process_limits)
    dataset = Dataset.of(
        ingested.model_copy(update={"warnings": [*source.warnings, *ingested.warnings]}),
        id=dataset_id,
        name=source.name,
        sha256=source.sha256,
        source_bytes=source.size_bytes,
        connection=None if source.provenance is None else source.provenance.connection,
        provenance=source.provenance,
        created_at=datetime.now(UTC),
    )
    more = dataset.parquet_bytes + datasets.profile_bytes(dataset)
    context.state.quota.check(context.database, context.caller.tenant, more, beside=reservation)
    key = f"datasets/{dataset_id}/data.parquet"
    context.state.artifacts.adopt(parquet, key)
    committing = False
    try:
        with context.database.transaction() as connection:
            dataset, created = datasets.add(connection, dataset, path=key, options=source.canonical, read=source.read)
            if created:
                datasets.check_quota(connection, context.state.settings.max_dataset_bytes)
            committing = created
    finally:
        # A failed commit may have succeeded: a row may name the file, so only the garbage collector may delete it.
        if not committing:
            context.state.artifacts.delete(key)
    return dataset, created
