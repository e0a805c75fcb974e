"""Collects the inputs of an export: weights, job, data set unless deleted, history."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from service.api.routes.epochs import table
from service.api.routes.jobs import read_job
from service.api.tabular_responses import csv_rows
from service.domain.job import Export
from service.errors import NotFound
from service.spec.data import DatasetData
from service.store import datasets

if TYPE_CHECKING:
    from pathlib import Path

    from service.api.context import RequestContext
    from service.domain.checkpoint import Checkpoint, CheckpointFormat
    from service.spec.table import Dataset


def export(
    context: RequestContext,
    job_id: str,
    checkpoint: Checkpoint,
    weights: Path,
    format: CheckpointFormat,  # noqa: A002
    target: Path,
) -> None:
    """Write the file `target`, and others beside it.

    Raises Conflict where its predictions would differ from those of the service, NotInstalled, Unavailable.
    """
    job = read_job(context, job_id)
    dataset, parquet = _data(context, job.known_spec.data.id if isinstance(job.known_spec.data, DatasetData) else None)
    history = target.with_name("history.csv")
    with history.open("w", encoding="utf-8", newline="") as file:
        for rows in csv_rows(table(context, job_id)):
            csv.writer(file, lineterminator="\n").writerows(rows)
    asked = Export(format=format, job=job, dataset=dataset, parquet=parquet, history=history)
    context.state.predictor.export(weights, checkpoint.sha256, asked, target)


def _data(context: RequestContext, dataset_id: str | None) -> tuple[Dataset | None, Path | None]:
    """The data set and the path of its table; None for a deleted one, and for data in the spec."""
    if dataset_id is None:
        return None, None
    try:
        with context.database.reading() as connection:
            path = datasets.path_of(connection, dataset_id)
            return datasets.get(connection, dataset_id), context.state.artifacts.path(path)
    except NotFound:
        return None, None
