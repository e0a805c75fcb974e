"""Integrity checks of the database: each check streams the rows that violate its rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, case, cast, exists, func, literal, or_, select, tuple_

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.status import LIVE, Status
from service.spec.early_stopping import Monitor
from service.store.decisions import AWAITED
from service.store.engine import allow_long_statements
from service.store.epoch_limits import at_epoch_limit
from service.store.model_tables import model_member_files, model_members, model_version_files, model_versions, models
from service.store.schema import STAGED, checkpoints, datasets, epochs, events, job_files, jobs, sweeps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Row, Select, Table

ROWS = 1_000  # fetched at once
RESTORE = "stop the service and restore the latest backup"
_RERUN = "its results cannot be trusted: submit the job again, or restore a backup"


@dataclass(frozen=True)
class Violation:
    """A violated rule: whose row, the problem, and the remedy."""

    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class FileRef:
    """A file as described by the row that refers to it."""

    owner: str  # the id of a job or a data set, or the name and version of a model
    kind: str  # best, last, state, predictions, report, profile, rows or member
    path: str
    sha256: str
    size_bytes: int


def database_file(connection: Connection) -> Iterator[Violation]:
    """Problems that SQLite's own integrity_check finds; nothing on Postgres."""
    if connection.dialect.name != "sqlite":
        return
    for (result,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if result != "ok":
            yield Violation("database", f"SQLite's integrity_check reports: {result}", RESTORE)


def foreign_keys(connection: Connection) -> Iterator[Violation]:
    """Violated foreign keys, which are possible in SQLite alone."""
    if connection.dialect.name != "sqlite":
        return
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Violation("database", f"row {row} of {table} refers to a missing row of {parent}", RESTORE)


def job_states(connection: Connection) -> Iterator[Violation]:
    """Jobs in an inconsistent state."""
    unleased = or_(jobs.c.worker.is_(None), jobs.c.lease_until.is_(None), jobs.c.attempt < 1)
    live = jobs.c.status.in_(LIVE)
    staged = jobs.c.status == STAGED
    leased = jobs.c.lease_until.is_not(None)
    remedy = "cancel it if it makes no progress, and report a bug"
    for which, problem in (
        (and_(jobs.c.status == Status.running, unleased), "running without a worker, a lease or an attempt"),
        (and_(jobs.c.status.in_([Status.queued, Status.paused]), leased), "waiting, but it has a lease"),
        (and_(live, jobs.c.finished_at.is_not(None)), "not ended, but it has an end time"),
    ):
        yield from _jobs(connection, which, problem, remedy)
    waits = and_(jobs.c.status == Status.paused, at_epoch_limit(), ~AWAITED)
    problem = "waiting at its epoch limit, but its sweep takes no more decisions"
    yield from _jobs(connection, waits, problem, "resume it, or cancel it")
    remedy = "its results are valid; delete the job when you no longer need them"
    for which, problem in (
        (and_(~live, ~staged, jobs.c.finished_at.is_(None)), "ended, but it has no end time"),
        (and_(~live, leased), "ended, but it has a lease"),
        (jobs.c.status.not_in([*Status, STAGED]), "unknown status"),
    ):
        yield from _jobs(connection, which, problem, remedy)


def missing_datasets(connection: Connection) -> Iterator[Violation]:
    """Live jobs whose data set is missing."""
    needed = jobs.c.spec["data"]["kind"].as_string() == "dataset"
    there = exists().where(datasets.c.id == jobs.c.dataset_id)
    lost = and_(jobs.c.status.in_(LIVE), needed, ~there)
    yield from _jobs(connection, lost, "its data set is missing", "cancel it, upload the file and submit it again")


def histories(connection: Connection) -> Iterator[Violation]:
    """Jobs whose stored epochs are not 1, 2, ... up to `jobs.epoch`."""
    of_job = epochs.c.job_id == jobs.c.id
    number = select(func.count()).where(of_job).scalar_subquery()
    first = select(func.min(epochs.c.epoch)).where(of_job).scalar_subquery()
    last = select(func.max(epochs.c.epoch)).where(of_job).scalar_subquery()
    wrong = or_(number != jobs.c.epoch, and_(number > 0, or_(first != 1, last != jobs.c.epoch)))
    query = select(jobs.c.id, jobs.c.epoch, number.label("number"), first.label("first"), last.label("last"))
    for row in _stream(connection, query.where(wrong)):
        found = f"{row.number} epochs, {row.first} to {row.last}" if row.number else "none"
        yield Violation(row.id, f"its history should have epochs 1 to {row.epoch}, but has {found}", _RERUN)


def best_epochs(connection: Connection) -> Iterator[Violation]:
    """Jobs whose best epoch is not in their history, has another value there, or has no published checkpoint."""
    row_of_best = and_(epochs.c.job_id == jobs.c.id, epochs.c.epoch == jobs.c.best_epoch)
    file_of_best = and_(checkpoints.c.job_id == jobs.c.id, checkpoints.c.kind == CheckpointKind.best)
    columns = [jobs.c[name] for name in ("id", "status", "monitor", "best_epoch", "best_value")]
    found = [epochs.c.epoch, epochs.c.train_loss, epochs.c.val_loss, epochs.c.metrics]
    query = select(*columns, *found, checkpoints.c.epoch.label("published")).select_from(
        jobs.outerjoin(epochs, row_of_best).outerjoin(checkpoints, file_of_best)
    )
    for row in _stream(connection, query.where(jobs.c.best_epoch.is_not(None))):
        if row.epoch is None:
            yield Violation(row.id, f"its best epoch, {row.best_epoch}, is not in its history", _RERUN)
        elif (measured := _measured(row)) != row.best_value:
            problem = f"its best {row.monitor} is {row.best_value}, but epoch {row.best_epoch} has {measured}"
            yield Violation(row.id, problem, _RERUN)
        if row.status == Status.succeeded and row.published != row.best_epoch:
            published = "none" if row.published is None else f"epoch {row.published}"
            problem = f"its best checkpoint is not of epoch {row.best_epoch}; published: {published}"
            yield Violation(row.id, problem, _RERUN)


def event_logs(connection: Connection) -> Iterator[Violation]:
    """Jobs whose event log has gaps, or whose number of ends, less those revived, does not match their status."""
    change = case((events.c.kind == EventKind.ended, 1), (events.c.kind == EventKind.revived, -1), else_=0)
    ends = func.sum(change).label("ends")
    log = select(events.c.job_id, func.count().label("number"), func.max(events.c.number).label("last"), ends)
    each = log.group_by(events.c.job_id).subquery()  # a job from before event logs may have none
    query = select(jobs.c.id, jobs.c.status, each.c.number, each.c.last, each.c.ends).join(each)
    due = case((jobs.c.status.in_(LIVE), 0), else_=1)
    wrong = or_(each.c.number != each.c.last, each.c.ends != due)
    for row in _stream(connection, query.where(jobs.c.status != STAGED, wrong)):
        if row.number != row.last:
            found = _count(row.number, "event")
            yield Violation(row.id, f"its event log has {found}, but the last one is number {row.last}", _RERUN)
        if row.ends != (Status(row.status) not in LIVE):
            yield Violation(
                row.id, f"it is {row.status}, but its event log has {_count(row.ends, 'end event')}", _RERUN
            )


def checkpoint_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of files of checkpoints; empty at the end.

    Paged, because reading the files takes long, and no transaction should be open meanwhile.
    """
    return _files(connection, checkpoints, after)


def other_job_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of other files of jobs; empty at the end."""
    return _files(connection, job_files, after)


def _files(connection: Connection, table: Table, after: FileRef | None) -> list[FileRef]:
    place = tuple_(table.c.job_id, table.c.kind)
    columns = [table.c[name] for name in ("job_id", "kind", "path", "sha256", "size_bytes")]
    query = select(*columns).where(place > (("", "") if after is None else (after.owner, after.kind)))
    return [FileRef(*row) for row in connection.execute(query.order_by(*columns[:2]).limit(ROWS))]


def dataset_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of files of data sets; empty at the end."""
    columns = [datasets.c[name] for name in ("path", "parquet_sha256", "parquet_bytes")]
    query = select(datasets.c.id, *columns).where(datasets.c.id > ("" if after is None else after.owner))
    page = connection.execute(query.order_by(datasets.c.id).limit(ROWS))
    return [FileRef(row.id, "rows", *row[1:]) for row in page]


def member_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of files that only versions of models have, each file once; empty at the end."""
    return _kept(connection, model_members, checkpoints, literal("member"), after)


def other_member_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of other files that only versions of models have, each file once; empty at the end."""
    return _kept(connection, model_member_files, job_files, model_member_files.c.kind, after)


def version_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next page of files of versions of models themselves; empty at the end."""
    return _kept(connection, model_version_files, None, model_version_files.c.kind, after)


def _kept(
    connection: Connection, table: Table, of_jobs: Table | None, kind: ColumnElement[str], after: FileRef | None
) -> list[FileRef]:
    """The next page of files of `table`, each once, without those that a row of `of_jobs` has, too."""
    owner = func.min("model " + models.c.name + ":" + cast(table.c.version, String))
    columns = table.c.path, table.c.sha256, table.c.size_bytes
    query = select(owner, func.min(kind), *columns).join(models, models.c.id == table.c.model_id)
    if of_jobs is not None:
        query = query.where(~exists().where(of_jobs.c.tenant == table.c.tenant, of_jobs.c.path == table.c.path))
    page = query.where(table.c.path > ("" if after is None else after.path)).group_by(*columns)
    return [FileRef(*row) for row in connection.execute(page.order_by(table.c.path).limit(ROWS))]


def model_versions_without_members(connection: Connection) -> Iterator[Violation]:
    """Versions of models that have no member."""
    there = exists().where(
        model_members.c.model_id == model_versions.c.model_id, model_members.c.version == model_versions.c.version
    )
    query = select(models.c.name, model_versions.c.version).join(models, models.c.id == model_versions.c.model_id)
    for row in _stream(connection, query.where(~there)):
        yield Violation(f"model {row.name}:{row.version}", "it has no members", RESTORE)


def count(connection: Connection) -> tuple[int, int, int]:
    """Number of (jobs, data sets, sweeps)."""
    allow_long_statements(connection)
    queries = (select(func.count()).select_from(table) for table in (jobs, datasets, sweeps))
    of_jobs, *others = queries
    numbers = [connection.scalar(query) or 0 for query in (of_jobs.where(jobs.c.status != STAGED), *others)]
    return numbers[0], numbers[1], numbers[2]


def _jobs(connection: Connection, which: ColumnElement[bool], problem: str, remedy: str) -> Iterator[Violation]:
    for row in _stream(connection, select(jobs.c.id, jobs.c.status).where(which)):
        yield Violation(row.id, f"{problem} (status {row.status})", remedy)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _stream(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    allow_long_statements(connection)
    yield from connection.execute(query.execution_options(yield_per=ROWS))


def _measured(row: Row[Any]) -> float | None:
    if row.monitor in (Monitor.train_loss, Monitor.val_loss):
        return getattr(row, row.monitor)  # type: ignore[no-any-return]
    return row.metrics.get(row.monitor)  # type: ignore[no-any-return]
