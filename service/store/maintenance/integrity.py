"""What the database has to say against itself: each check streams what breaks its rule, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, or_, select, tuple_

from service.domain.checkpoint import CheckpointKind
from service.domain.event import EventKind
from service.domain.status import LIVE, Status
from service.spec.early_stopping import Monitor
from service.store.engine import allow_long_statements
from service.store.schema import STAGED, checkpoints, datasets, epochs, events, jobs, sweeps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Row, Select

ROWS = 1_000  # in memory at once
RESTORE = "stop the service and restore the last backup"
_RERUN = "its record cannot be trusted: submit the job again, or restore a backup"


@dataclass(frozen=True)
class Violation:
    """Something that breaks a rule: whose row, what is wrong, and what to do about it."""

    subject: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class FileRef:
    """A file that a row names, and what the row says of it."""

    owner: str  # the id of a job or a data set
    kind: str  # best, last, state or rows
    path: str
    sha256: str
    size_bytes: int


def database_file(connection: Connection) -> Iterator[Violation]:
    """What SQLite itself finds wrong with its file; Postgres keeps its own house."""
    if connection.dialect.name != "sqlite":
        return
    for (said,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if said != "ok":
            yield Violation("database", f"SQLite's integrity_check says: {said}", RESTORE)


def foreign_keys(connection: Connection) -> Iterator[Violation]:
    """Rows that name a row of another table that is not there, such as a job's sweep; Postgres lets none be."""
    if connection.dialect.name != "sqlite":
        return
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Violation("database", f"row {row} of {table} names a row of {parent} that is not there", RESTORE)


def job_states(connection: Connection) -> Iterator[Violation]:
    """Jobs whose state is none that the service brings about."""
    held = or_(jobs.c.worker.is_(None), jobs.c.lease_until.is_(None), jobs.c.attempt < 1)
    live = jobs.c.status.in_(LIVE)
    staged = jobs.c.status == STAGED
    leased = jobs.c.lease_until.is_not(None)
    report = "cancel it if it does not go on by itself, and report it as a fault of the service"
    for which, what in (
        (and_(jobs.c.status == Status.running, held), "it is running without a worker, a lease or an attempt"),
        (and_(jobs.c.status.in_([Status.queued, Status.paused]), leased), "it waits, but somebody has a lease on it"),
        (and_(live, jobs.c.finished_at.is_not(None)), "it has not ended, but has a time when it did"),
    ):
        yield from _jobs(connection, which, what, report)
    stands = "its results stand; delete the job when you do not need them"
    for which, what in (
        (and_(~live, ~staged, jobs.c.finished_at.is_(None)), "it has ended, but nobody knows when"),
        (and_(~live, leased), "it has ended, but somebody has a lease on it"),
        (jobs.c.status.not_in([*Status, STAGED]), "this version does not know its status"),
    ):
        yield from _jobs(connection, which, what, stands)


def missing_datasets(connection: Connection) -> Iterator[Violation]:
    """Live jobs whose data set is not there."""
    named = jobs.c.spec["data"]["kind"].as_string() == "dataset"
    there = exists().where(datasets.c.id == jobs.c.dataset_id)
    lost = and_(jobs.c.status.in_(LIVE), named, ~there)
    yield from _jobs(connection, lost, "its data set is not there", "cancel it, upload the file and submit it again")


def histories(connection: Connection) -> Iterator[Violation]:
    """Jobs whose epochs are not 1, 2, ... up to the last one that the job speaks of."""
    of_job = epochs.c.job_id == jobs.c.id
    number = select(func.count()).where(of_job).scalar_subquery()
    first = select(func.min(epochs.c.epoch)).where(of_job).scalar_subquery()
    last = select(func.max(epochs.c.epoch)).where(of_job).scalar_subquery()
    wrong = or_(number != jobs.c.epoch, and_(number > 0, or_(first != 1, last != jobs.c.epoch)))
    query = select(jobs.c.id, jobs.c.epoch, number.label("number"), first.label("first"), last.label("last"))
    for row in _stream(connection, query.where(wrong)):
        found = f"{row.number} of them, {row.first} to {row.last}" if row.number else "none"
        yield Violation(row.id, f"it speaks of epochs 1 to {row.epoch}, but there are {found}", _RERUN)


def best_epochs(connection: Connection) -> Iterator[Violation]:
    """Jobs whose best epoch is not in their history, or measured something else there, or was not published."""
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
            said = f"its best {row.monitor} is {row.best_value}, but epoch {row.best_epoch} measured {measured}"
            yield Violation(row.id, said, _RERUN)
        if row.status == Status.succeeded and row.published != row.best_epoch:
            has = "none is" if row.published is None else f"that of epoch {row.published} is"
            yield Violation(
                row.id, f"the checkpoint of its best epoch, {row.best_epoch}, should be published; {has}", _RERUN
            )


def event_logs(connection: Connection) -> Iterator[Violation]:
    """Jobs whose log lacks an entry, or does not tell of one end if there is one, and of none if there is none."""
    ends = func.sum(case((events.c.kind == EventKind.ended, 1), else_=0)).label("ends")
    log = select(events.c.job_id, func.count().label("number"), func.max(events.c.number).label("last"), ends)
    each = log.group_by(events.c.job_id).subquery()  # a job of before there were logs may have none
    query = select(jobs.c.id, jobs.c.status, each.c.number, each.c.last, each.c.ends).join(each)
    due = case((jobs.c.status.in_(LIVE), 0), else_=1)
    wrong = or_(each.c.number != each.c.last, each.c.ends != due)
    for row in _stream(connection, query.where(jobs.c.status != STAGED, wrong)):
        if row.number != row.last:
            has = _of(row.number, "entry", "entries")
            yield Violation(row.id, f"its log has {has}, the last of which is number {row.last}", _RERUN)
        if row.ends != (Status(row.status) not in LIVE):
            yield Violation(row.id, f"it is {row.status}, but its log tells of {_of(row.ends, 'end', 'ends')}", _RERUN)


def checkpoint_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next files that checkpoints name; none at the end.

    A page at a time: reading all the files takes long, and no transaction should be open meanwhile.
    """
    place = tuple_(checkpoints.c.job_id, checkpoints.c.kind)
    columns = [checkpoints.c[name] for name in ("job_id", "kind", "path", "sha256", "size_bytes")]
    query = select(*columns).where(place > (("", "") if after is None else (after.owner, after.kind)))
    return [FileRef(*row) for row in connection.execute(query.order_by(*columns[:2]).limit(ROWS))]


def dataset_files(connection: Connection, after: FileRef | None = None) -> list[FileRef]:
    """The next files that data sets name; none at the end."""
    columns = [datasets.c[name] for name in ("path", "parquet_sha256", "parquet_bytes")]
    query = select(datasets.c.id, *columns).where(datasets.c.id > ("" if after is None else after.owner))
    page = connection.execute(query.order_by(datasets.c.id).limit(ROWS))
    return [FileRef(row.id, "rows", *row[1:]) for row in page]


def count(connection: Connection) -> tuple[int, int, int]:
    """How many (jobs, data sets, sweeps) there are."""
    allow_long_statements(connection)
    queries = (select(func.count()).select_from(table) for table in (jobs, datasets, sweeps))
    of_jobs, *others = queries
    numbers = [connection.scalar(query) or 0 for query in (of_jobs.where(jobs.c.status != STAGED), *others)]
    return numbers[0], numbers[1], numbers[2]


def _jobs(connection: Connection, which: ColumnElement[bool], what: str, remedy: str) -> Iterator[Violation]:
    for row in _stream(connection, select(jobs.c.id, jobs.c.status).where(which)):
        yield Violation(row.id, f"{what} (status {row.status})", remedy)


def _of(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _stream(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    allow_long_statements(connection)
    yield from connection.execute(query.execution_options(yield_per=ROWS))


def _measured(row: Row[Any]) -> float | None:
    if row.monitor in (Monitor.train_loss, Monitor.val_loss):
        return getattr(row, row.monitor)  # type: ignore[no-any-return]
    return row.metrics.get(row.monitor)  # type: ignore[no-any-return]
