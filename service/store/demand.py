"""The demand for workers: arrays that are queued, by what their jobs ask for, and those that run, by worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, distinct, func, literal_column, or_, select

from service.domain.status import Status
from service.engine_constants import ARRAY_WIDTHS
from service.spec.worker import labels_text, parse_labels
from service.store.schema import jobs
from service.store.tenancy import in_tenant
from service.store.worker_tables import workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Subquery

MAX_CLASSES = 100
"""Jobs may ask for any labels: only the classes with the largest demand are listed."""
_QUEUED: ColumnElement[str] = literal_column("'queued'")  # a parameter would not match the partial index


@dataclass(frozen=True)
class Pool:
    """Workers that are alike; None: of any device, with any labels."""

    device: str | None = None
    labels: Mapping[str, str] | None = None
    exclusive: bool = False
    """Only jobs that a worker without labels on a CPU cannot train."""

    def trains(self, queued: QueuedArrays) -> bool:
        """Whether its workers can train these jobs, and are meant to."""
        if self.exclusive and queued.device in ("auto", "cpu") and not queued.labels:
            return False
        device = self.device is None or queued.device in ("auto", self.device)
        return device and (self.labels is None or queued.labels.items() <= self.labels.items())

    def includes(self, running: RunningArrays) -> bool:
        """Whether the worker that trains these arrays is one of them."""
        return self.device in (None, running.device) and (self.labels is None or self.labels == running.labels)


ALL_WORKERS = Pool()


@dataclass(frozen=True)
class QueuedArrays:
    """Queued jobs of a tenant that ask for the same device and labels."""

    tenant: str
    device: str
    labels: Mapping[str, str]
    jobs: int
    arrays: int
    """As few as these jobs fit into: for each shape of a network, the jobs divided by the width of an array."""


@dataclass(frozen=True)
class RunningArrays:
    """Arrays that a worker trains for a tenant."""

    tenant: str
    device: str
    labels: Mapping[str, str]
    jobs: int
    arrays: int


@dataclass(frozen=True)
class Demand:
    """The demand for workers of a pool."""

    queued: Sequence[QueuedArrays]
    running: Sequence[RunningArrays]

    @property
    def queued_arrays(self) -> int:
        """Arrays that wait for a trainer."""
        return sum(found.arrays for found in self.queued)

    @property
    def running_arrays(self) -> int:
        """Arrays in training."""
        return sum(found.arrays for found in self.running)

    def queued_by_class(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Queued jobs and arrays of all tenants by device and labels, at most `MAX_CLASSES`, the largest first."""
        return _by_class(self.queued)

    def running_by_class(self) -> dict[tuple[str, str], tuple[int, int]]:
        """The same of those that run, by the device and the labels of their workers."""
        return _by_class(self.running)


def _by_class(found: Sequence[QueuedArrays | RunningArrays]) -> dict[tuple[str, str], tuple[int, int]]:
    classes: dict[tuple[str, str], tuple[int, int]] = {}
    for each in found:
        key = each.device, labels_text(each.labels)
        number, arrays = classes.get(key, (0, 0))
        classes[key] = number + each.jobs, arrays + each.arrays
    return dict(sorted(classes.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_CLASSES])


def read(connection: Connection, pool: Pool = ALL_WORKERS, *, width: int = 0, max_running: int = 0) -> Demand:
    """The demand for these workers, of the connection's tenant or of all.

    `width`: the workers' maximum of jobs in an array; 0: the default of the device. `max_running`: a tenant's limit on
    running jobs, beyond which nothing is in demand; 0: none. Scans a covering index of the queued jobs: 50 ms for
    100,000.
    """
    running = _running(connection)
    queued = [found for found in _queued(connection, pool.device or "cpu", width) if pool.trains(found)]
    if max_running:
        queued = _within_limit(queued, running, max_running)
    return Demand(queued, [found for found in running if pool.includes(found)])


def _queued(connection: Connection, device: str, width: int) -> list[QueuedArrays]:
    alike = _alike(connection)
    of_array = case((alike.c.limit < _width(alike, device, width), alike.c.limit), else_=_width(alike, device, width))
    # An integer division that rounds up. Jobs that have crashed are claimed alone.
    arrays = (alike.c.number - alike.c.alone + of_array - 1) // of_array + alike.c.alone
    by = alike.c.tenant, alike.c.device_request, alike.c.worker_labels
    query = select(*by, func.sum(alike.c.number), func.sum(arrays)).group_by(*by).order_by(*by)
    return [
        QueuedArrays(tenant, asked, parse_labels(labels), int(number), int(count))
        for tenant, asked, labels, number, count in connection.execute(query)
    ]


def _alike(connection: Connection) -> Subquery:
    """Queued jobs by shape. Those that an older version submitted have none, and count one by one."""
    by = jobs.c.tenant, jobs.c.device_request, jobs.c.worker_labels, jobs.c.shape_key
    alone = func.sum(case((or_(jobs.c.failures > 0, jobs.c.shape_key.is_(None)), 1), else_=0))
    counted = func.count().label("number"), alone.label("alone"), func.min(jobs.c.array_limit).label("limit")
    queued = select(*by, *counted).where(in_tenant(connection, jobs), jobs.c.status == _QUEUED)
    return queued.group_by(*by).subquery()


def _width(alike: Subquery, device: str, width: int) -> ColumnElement[int]:
    """Maximum number of jobs in an array; `auto` jobs are trained on `device`."""
    if width:
        return literal_column(str(int(width)))
    widths: Any = {name: literal_column(str(most)) for name, most in ARRAY_WIDTHS.items()}
    return case(widths, value=alike.c.device_request, else_=widths[device])


def _running(connection: Connection) -> list[RunningArrays]:
    """The jobs of an array were claimed by the same worker at the same time."""
    by = jobs.c.tenant, workers.c.device, jobs.c.worker
    counted = func.count(), func.count(distinct(jobs.c.started_at))
    of_worker = jobs.outerjoin(workers, workers.c.id == jobs.c.worker)
    query = select(*by, *counted).select_from(of_worker).where(in_tenant(connection, jobs))
    found = connection.execute(query.where(jobs.c.status == Status.running).group_by(*by).order_by(*by)).all()
    labels = {row.id: row.labels for row in connection.execute(select(workers.c.id, workers.c.labels))}
    return [
        RunningArrays(tenant, (device or "").split(":")[0], labels.get(worker, {}), int(number), int(arrays))
        for tenant, device, worker, number, arrays in found
    ]


def _within_limit(
    queued: Sequence[QueuedArrays], running: Sequence[RunningArrays], max_running: int
) -> list[QueuedArrays]:
    """What the tenants may still start: at most `max_running` jobs of each run at a time."""
    free: dict[str, int] = {found.tenant: max_running for found in queued}
    for busy in running:
        free[busy.tenant] = free.get(busy.tenant, max_running) - busy.jobs
    allowed = []
    for found in queued:
        startable = min(found.jobs, max(free[found.tenant], 0))
        free[found.tenant] -= startable
        arrays = min(found.arrays, startable)
        allowed.append(QueuedArrays(found.tenant, found.device, found.labels, found.jobs, arrays))
    return allowed
