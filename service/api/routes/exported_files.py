"""Files that are made for a download: the inputs of an export, and the open file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, BinaryIO

from service.api.http.ranges import OCTETS
from service.api.routes.epochs import table
from service.api.routes.jobs import read_job
from service.api.tabular_responses import csv_rows
from service.artifacts import sha256_of
from service.concurrency.cancellation import current
from service.domain.checkpoint import CheckpointFormat
from service.domain.export import Export, ExportedJob
from service.domain.job_file import JobFileKind
from service.domain.model_ref import Member, ModelRef
from service.errors import CheckpointCorrupt, NotFound
from service.spec.data import DatasetData
from service.store import datasets, job_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from service.api.context import RequestContext
    from service.domain.checkpoint import Checkpoint
    from service.domain.model import ModelVersion

ZIP = "application/zip"
CALIBRATED = (
    "With the preprocessing inside: probabilities are those that predictions answer by default, calibrated by a "
    "temperature if predictions were kept to fit it; `false`: raw ones."
)


def media_type(format: CheckpointFormat) -> str:  # noqa: A002
    """The media type of files in this format."""
    return ZIP if format is CheckpointFormat.bundle else OCTETS


def written(context: RequestContext, write: Callable[[Path], None]) -> tuple[BinaryIO, str]:
    """The file that `write` writes, open, and its SHA-256; it is sent from the disk, and its name is gone. Blocks."""
    with context.state.artifacts.scratch() as folder:
        target = folder / "export"
        write(target)
        file = current().close_on_discard(target.open("rb"))
        return file, sha256_of(target)


def opened(path: Path, what: str) -> BinaryIO:
    """A stored file of weights; raises CheckpointCorrupt if it cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointCorrupt(f"{what} cannot be read: {error.strerror}") from error


def export_checkpoint(
    context: RequestContext,
    job_id: str,
    checkpoint: Checkpoint,
    format: CheckpointFormat,  # noqa: A002
    target: Path,
    *,
    calibrated: bool,
) -> None:
    """Write a checkpoint of the job as the file `target`, and others beside it.

    The predictions that the job has kept calibrate the weights that they are of, and no others. Raises Conflict where
    its predictions would differ from those of the service, NotInstalled, Unavailable.
    """
    job = read_job(context, job_id)
    data = job.known_spec.data
    ids = [data.id] if isinstance(data, DatasetData) else []
    history = target.with_name("history.csv")
    with history.open("w", encoding="utf-8", newline="") as file:
        for rows in csv_rows(table(context, job_id)):
            csv.writer(file, lineterminator="\n").writerows(rows)
    with context.database.reading() as connection:
        try:
            dataset = datasets.get(connection, ids[0]) if ids else None
        except NotFound:  # deleted
            dataset = None
        kept = job_files.find(connection, job_id, JobFileKind.predictions)
    path = context.state.artifacts.path
    predictions = None if kept is None else (str(path(kept.path, kept.sha256)), kept.sha256)
    weights = str(path(checkpoint.path, checkpoint.sha256))
    ref = ModelRef((Member(weights, checkpoint.sha256, predictions=predictions),))
    of = ExportedJob(job=job, dataset=dataset, history=history)
    asked = Export(format=format, of=of, calibrated=calibrated, tables=_tables(context, ids))
    context.state.predictor.export(ref, asked, target)


def export_version(
    context: RequestContext,
    version: ModelVersion,
    ref: ModelRef,
    format: CheckpointFormat,  # noqa: A002
    target: Path,
    *,
    calibrated: bool,
) -> None:
    """Write the version as the file `target`; raises as `export_checkpoint` does."""
    ids = dict.fromkeys(member.dataset.id for member in version.members if member.dataset is not None)
    asked = Export(format=format, of=version, calibrated=calibrated, tables=_tables(context, ids))
    context.state.predictor.export(ref, asked, target)


def _tables(context: RequestContext, ids: Iterable[str]) -> dict[str, Path]:
    """The paths of the tables of these data sets, by id, without those of deleted ones."""
    files = {}
    with context.database.reading() as connection:
        for dataset_id in ids:
            try:
                files[dataset_id] = datasets.file_of(connection, dataset_id)
            except NotFound:
                continue
    return {dataset_id: context.state.artifacts.path(*file) for dataset_id, file in files.items()}
