"""The demand for workers, in trainers: of queued jobs, by what they ask for, and of running ones, by worker.

An array takes one trainer, a job on N devices takes N.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, case, cast, distinct, func, literal_column, or_, select

from service.domain.status import Status
from service.engine_constants import ARRAY_WIDTHS
from service.spec.worker import labels_text, parse_labels
from service.store.schema import jobs
from service.store.tenancy import in_tenant
from service.store.worker_tables import gang_members, workers

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

    def trains(self, queued: QueuedJobs) -> bool:
        """Whether its workers can train these jobs, and are meant to."""
        if self.exclusive and queued.device in ("auto", "cpu") and not queued.labels:
            return False
        device = self.device is None or queued.device in ("auto", self.device)
        return device and (self.labels is None or queued.labels.items() <= self.labels.items())

    def includes(self, running: RunningJobs) -> bool:
        """Whether the worker that trains these is one of them."""
        return self.device in (None, running.device) and (self.labels is None or self.labels == running.labels)


ALL_WORKERS = Pool()


@dataclass(frozen=True)
class QueuedJobs:
    """Queued jobs of a tenant that ask for the same device and labels."""

    tenant: str
    device: str
    labels: Mapping[str, str]
    jobs: int
    trainers: int
    """As few as can train all at once: for each shape of a network, the jobs divided by the width of an array."""
    ranks: int = 1
    """Devices of each job."""


@dataclass(frozen=True)
class RunningJobs:
    """Jobs that a worker trains for a tenant."""

    tenant: str
    device: str
    labels: Mapping[str, str]
    jobs: int
    """Without those that another worker leads."""
    trainers: int
    """Of this worker."""


@dataclass(frozen=True)
class Demand:
    """The demand for workers of a pool."""

    queued: Sequence[QueuedJobs]
    running: Sequence[RunningJobs]

    @property
    def queued_trainers(self) -> int:
        """Trainers for which jobs wait."""
        return sum(found.trainers for found in self.queued)

    @property
    def running_trainers(self) -> int:
        """Trainers that train."""
        return sum(found.trainers for found in self.running)

    @property
    def trainers(self) -> int:
        """Trainers that would be busy if there were enough."""
        return self.queued_trainers + self.running_trainers

    def queued_by_class(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Queued jobs of all tenants and their trainers, by device and labels: the largest `MAX_CLASSES`."""
        return _by_class(self.queued)

    def running_by_class(self) -> dict[tuple[str, str], tuple[int, int]]:
        """The same of those that run, by the device and the labels of their workers."""
        return _by_class(self.running)


def _by_class(found: Sequence[QueuedJobs | RunningJobs]) -> dict[tuple[str, str], tuple[int, int]]:
    classes: dict[tuple[str, str], tuple[int, int]] = {}
    for each in found:
        key = each.device, labels_text(each.labels)
        number, trainers = classes.get(key, (0, 0))
        classes[key] = number + each.jobs, trainers + each.trainers
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


def _queued(connection: Connection, device: str, width: int) -> list[QueuedJobs]:
    alike = _alike(connection)
    of_array = case((alike.c.limit < _width(alike, device, width), alike.c.limit), else_=_width(alike, device, width))
    # An integer division that rounds up. Jobs that have crashed are claimed alone.
    arrays = (alike.c.number - alike.c.alone + of_array - 1) // of_array + alike.c.alone
    by = alike.c.tenant, alike.c.device_request, alike.c.worker_labels
    query = select(*by, _whole(func.sum(alike.c.number)), _whole(func.sum(arrays))).group_by(*by).order_by(*by)
    parallel = _queued_parallel(connection)
    alone = Counter[tuple[str, str, str]]()  # each counts as an array in the query
    for each in parallel:
        alone[each.tenant, each.device, labels_text(each.labels)] += each.jobs
    single = [
        QueuedJobs(tenant, asked, parse_labels(labels), number - several, max(count - several, 1))
        for tenant, asked, labels, number, count in connection.execute(query)
        if number > (several := alone[tenant, asked, labels])
    ]
    return [*single, *parallel]


def _queued_parallel(connection: Connection) -> list[QueuedJobs]:
    """Jobs on several devices, which are trained alone."""
    by = jobs.c.tenant, jobs.c.device_request, jobs.c.worker_labels, jobs.c.ranks
    waiting = jobs.c.status == _QUEUED, jobs.c.ranks > literal_column("1")  # as its index says
    query = select(*by, func.count()).where(in_tenant(connection, jobs), *waiting).group_by(*by).order_by(*by)
    return [
        QueuedJobs(tenant, asked, parse_labels(labels), number, number * ranks, ranks)
        for tenant, asked, labels, ranks, number in connection.execute(query)
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


def _running(connection: Connection) -> list[RunningJobs]:
    """By worker. The jobs of an array were claimed by the same worker at the same time; a gang has several workers."""
    worker = func.coalesce(gang_members.c.worker, jobs.c.worker).label("worker")
    led = func.sum(case((worker == jobs.c.worker, 1), else_=0))
    arrays = func.count(distinct(case((jobs.c.ranks == 1, jobs.c.started_at))))
    ranks = func.sum(case((jobs.c.ranks > 1, func.coalesce(gang_members.c.ranks, jobs.c.ranks)), else_=0))
    of_gangs = jobs.outerjoin(gang_members, gang_members.c.job_id == jobs.c.id)
    of_workers = of_gangs.outerjoin(workers, workers.c.id == func.coalesce(gang_members.c.worker, jobs.c.worker))
    by = jobs.c.tenant, workers.c.device, worker
    query = select(*by, _whole(led), _whole(arrays + ranks)).select_from(of_workers).where(in_tenant(connection, jobs))
    found = connection.execute(query.where(jobs.c.status == Status.running).group_by(*by).order_by(*by)).all()
    labels = {row.id: row.labels for row in connection.execute(select(workers.c.id, workers.c.labels))}
    return [
        RunningJobs(tenant, (device or "").split(":")[0], labels.get(name, {}), number, trainers)
        for tenant, device, name, number, trainers in found
    ]


def _whole(number: Any) -> ColumnElement[int]:
    """As an integer: sums are decimal numbers in Postgres."""
    return cast(number, Integer)


def _within_limit(queued: Sequence[QueuedJobs], running: Sequence[RunningJobs], max_running: int) -> list[QueuedJobs]:
    """What the tenants may still start: at most `max_running` jobs of each run at a time."""
    free: dict[str, int] = {found.tenant: max_running for found in queued}
    for busy in running:
        free[busy.tenant] = free.get(busy.tenant, max_running) - busy.jobs
    allowed = []
    for found in queued:
        startable = min(found.jobs, max(free[found.tenant], 0))
        free[found.tenant] -= startable
        allowed.append(replace(found, trainers=min(found.trainers, startable * found.ranks)))
    return allowed
