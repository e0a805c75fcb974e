"""The warning that no live worker has the labels that a job asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.spec.resolve import SpecWarning
from service.spec.text import listed
from service.spec.worker import labels_text
from service.store import workers

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.spec.worker import WorkerRequest


def missing_worker(context: RequestContext, asked: WorkerRequest) -> list[SpecWarning]:
    """The warning, where no worker with a recent heartbeat has these labels."""
    if not asked.labels:
        return []
    with context.database.reading() as connection:
        alive = workers.find(connection)
    if any(asked.labels.items() <= worker.labels.items() for worker in alive):
        return []
    known = listed(sorted({labels_text(worker.labels) for worker in alive if worker.labels})) or "none"
    message = f"no live worker has the labels {asked.text}: the job stays queued until one starts (labels: {known})"
    return [SpecWarning(code="no_worker_with_labels", message=message, pointer="/worker/labels")]
