"""Collects the inputs of a report: kept predictions, weights, resolved job, data set unless deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.api.routes.checkpoints import read_checkpoint
from service.api.routes.jobs import read_job
from service.domain.checkpoint import CheckpointKind
from service.domain.report import ReportedMember, ReportInputs, StoredFile
from service.errors import NotFound
from service.spec.data import DatasetData
from service.store import datasets
from service.store.jobs import resolutions

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.domain.job_file import JobFile

DELETED = "the data set was deleted"
UNKNOWN = "a version of before trained the job, and did not store how it read the columns"


def report_inputs(context: RequestContext, job_id: str, predictions: JobFile) -> ReportInputs:
    """The inputs of the report on an ended job. Raises NotFound, Conflict for a spec of a newer version."""
    spec = read_job(context, job_id).known_spec
    best = read_checkpoint(context, job_id, CheckpointKind.best)
    path, file, reason = context.state.artifacts.path, None, None
    with context.database.reading() as connection:
        resolved = resolutions.of_job(connection, job_id, spec)
        if isinstance(spec.data, DatasetData):
            try:
                file = datasets.file_of(connection, spec.data.id)
            except NotFound:
                reason = DELETED
    if resolved is None and reason is None:
        reason = UNKNOWN
    member = ReportedMember(
        predictions=StoredFile(path(predictions.path, predictions.sha256), predictions.sha256),
        checkpoint=StoredFile(path(best.path, best.sha256), best.sha256),
        resolved=resolved,
    )
    table = None if file is None else StoredFile(path(*file), file[1])
    return ReportInputs((member,), table, reason)
