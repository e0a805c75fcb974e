"""GET /v1/demand: the trainers that queued and running jobs need, for autoscalers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AfterValidator

from service.api.context import Reader
from service.api.strict_route import StrictRoute
from service.spec.documented import Documented
from service.spec.worker import parse_labels
from service.store import demand
from service.store.demand import Pool

router = APIRouter(tags=["service"], route_class=StrictRoute)


class QueuedClass(Documented):
    """Queued jobs that ask for the same device and the same labels."""

    device: str
    """The device that they ask for: `auto`, `cpu` or `cuda`."""
    labels: dict[str, str]
    """The labels that their worker must have."""
    jobs: int
    """Number of these jobs."""
    trainers: int
    """Trainers that they need: one for each array that they fit into, N for a job on N devices."""


class DemandForWorkers(Documented):
    """The demand for workers, all or those of a pool."""

    object: Literal["demand"] = "demand"
    """What this JSON object is."""
    trainers: int
    """Trainers, one for each device, that would be busy if there were enough. Scale on this number."""
    queued_trainers: int
    """Trainers that queued jobs need: for each tenant and shape of a network, jobs divided by the width of an array;
    N for a job on N devices."""
    running_trainers: int
    """Trainers that train."""
    queued_jobs: int
    """Queued jobs, of which an array holds up to 16 on a CPU, up to 256 on a GPU."""
    queued: list[QueuedClass]
    """The same queued jobs by what they ask for, at most 100 classes, the largest first."""


def _are_labels(text: str) -> str:
    parse_labels(text)
    return text


Device = Annotated[
    Literal["cpu", "cuda"] | None,
    Query(description="The device of the pool's workers: its jobs are those that ask for it, or for `auto`."),
]
LabelsText = Annotated[
    str | None,
    Query(
        description="The labels of the pool's workers, as `gpu=h100,spot=true`: its jobs ask for some of them or for"
        " none. Empty: workers without labels.",
        max_length=2_000,
    ),
    AfterValidator(lambda text: text if text is None else _are_labels(text)),
]
Exclusive = Annotated[
    bool,
    Query(description="`true`: leave out queued jobs that a worker without labels on a CPU can train, too."),
]


@router.get("/demand", operation_id="get_demand", summary="Read the demand for workers")
def get_demand(
    context: Reader, device: Device = None, labels: LabelsText = None, exclusive: Exclusive = False
) -> DemandForWorkers:
    """How many trainers the queued and running jobs need: an autoscaler divides `trainers` by those of a worker.

    A key of the tenant `default`, the operator's, reads the demand of all tenants, other keys that of their own. Jobs
    beyond a tenant's limit of running jobs are no demand. Without `device`, jobs for `auto` count as on a CPU.
    """
    settings = context.state.settings
    pool = Pool(device, None if labels is None else parse_labels(labels), exclusive)
    with context.database_for_counts.reading() as connection:
        found = demand.read(connection, pool, width=settings.array_width, max_running=settings.max_running_jobs)
    return DemandForWorkers(
        trainers=found.trainers,
        queued_trainers=found.queued_trainers,
        running_trainers=found.running_trainers,
        queued_jobs=sum(each.jobs for each in found.queued),
        queued=[
            QueuedClass(device=asked, labels=parse_labels(text), jobs=jobs, trainers=trainers)
            for (asked, text), (jobs, trainers) in found.queued_by_class().items()
        ],
    )
