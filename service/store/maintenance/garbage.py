"""Mark-and-sweep garbage collection of artifacts, database side: collections, marks on files, the collection clock.

The collection clock counts seconds while the service runs: each collection adds the time since the previous one by
the lease clock, at most STEP_SECONDS. It is independent of the wall clock, and stands still while no service runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.store.engine import lease_clock
from service.store.schema import collections, deployment, garbage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import ColumnElement, Connection, Delete, Update

STEP_SECONDS = 7_200.0  # limits the effect of clock jumps and of downtime
KEPT_COLLECTIONS = 1_000  # and all of the last KEPT_SECONDS
KEPT_SECONDS = 7 * 86_400.0
NAMES = 500  # in one statement


@dataclass(frozen=True)
class CollectionRun:
    """A running collection: its number, and its start time by the collection clock."""

    number: int
    now: float


@dataclass(frozen=True)
class Mark:
    """Since when a file is garbage, and whether a transaction discarded it or a collection found it unreferenced."""

    since: float | None  # None: discarded after the last collection began
    discarded: bool


@dataclass(frozen=True)
class CollectionStatistics:
    """Counts over all collections, and what the last completed one found."""

    collections: int
    failed: int
    refused: int
    undeleted: int
    files: int
    bytes: int
    trash_files: int
    trash_bytes: int


def begin(connection: Connection, min_interval: float = 0.0) -> CollectionRun | None:
    """Begin a collection: advance the clock, and timestamp files discarded since the last collection.

    None when any process began a collection less than `min_interval` seconds ago.
    """
    connection.execute(select(deployment.c.id).with_for_update())  # serializes collections
    clock, boot = lease_clock(connection)
    reading = float(connection.scalar(select(clock)) or 0.0)
    last = connection.execute(select(collections).order_by(collections.c.number.desc()).limit(1)).first()
    now, number = 0.0, 1
    if last is not None:
        passed = reading - last.reading if last.boot == boot else 0.0
        if last.boot == boot and 0 <= passed < min_interval:
            return None
        now, number = last.clock + min(max(passed, 0.0), STEP_SECONDS), last.number + 1
    row = {"number": number, "clock": now, "reading": reading, "boot": boot, "wall": datetime.now(UTC)}
    connection.execute(insert(collections).values(row))
    old = collections.c.number <= number - KEPT_COLLECTIONS, collections.c.clock < now - KEPT_SECONDS
    connection.execute(delete(collections).where(*old))
    undated = garbage.c.since.is_(None)
    _one_by_one(connection, update(garbage).where(undated).values(since=now, seen=number), _names(connection, undated))
    return CollectionRun(number, now)


def latest(connection: Connection) -> CollectionRun:
    """The last collection begun; number 0 if there was none."""
    query = select(collections.c.number, collections.c.clock).order_by(collections.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return CollectionRun(0, 0.0) if row is None else CollectionRun(row.number, row.clock)


def earliest_time(connection: Connection, run: CollectionRun, age: float) -> datetime | None:
    """The earliest wall-clock time of the collections since `age` seconds ago; None if none is that old.

    What is due by this time was due at each of them, so a wrong wall clock at some of them deletes nothing.
    """
    before = collections.c.clock <= run.now - age, collections.c.number <= run.number
    first = connection.scalar(select(func.max(collections.c.number)).where(*before))
    if first is None:
        return None
    since = select(func.min(collections.c.wall)).where(collections.c.number >= first)
    earliest: datetime | None = connection.scalar(since)
    return earliest


def discard(connection: Connection, names: Collection[str]) -> None:
    """Mark files whose rows this transaction deletes: collected after the grace period, unless referenced again.

    Files of live jobs are collected only if discarded: otherwise their rows might still be written.
    """
    afresh = {"since": None, "seen": 0, "discarded": True}
    for some in _pages(names):
        statement = _insert(connection).on_conflict_do_update(index_elements=["name"], set_=afresh)
        connection.execute(statement, [{"name": name, **afresh} for name in some])


def marks(connection: Connection, names: Collection[str]) -> dict[str, Mark]:
    """The marks of these files, by name, where they have one."""
    found = {}
    for some in _pages(names):
        for row in connection.execute(select(garbage).where(garbage.c.name.in_(some))):
            found[row.name] = Mark(row.since, row.discarded)
    return found


def mark(connection: Connection, run: CollectionRun, names: Collection[str]) -> dict[str, Mark]:
    """Mark these files as garbage in this collection; marks that they already have stay. Returns all marks."""
    fresh = {"since": run.now, "seen": run.number, "discarded": False}
    for some in _pages(names):
        statement = _insert(connection).on_conflict_do_update(index_elements=["name"], set_={"seen": run.number})
        connection.execute(statement, [{"name": name, **fresh} for name in some])
    return marks(connection, names)


def forget(connection: Connection, names: Collection[str]) -> None:
    """Delete the marks of removed files."""
    _one_by_one(connection, delete(garbage), names)


def end(connection: Connection, run: CollectionRun, files: tuple[int, int], trash: tuple[int, int]) -> None:
    """Complete a collection: record (number, bytes) of files and of trash, and delete unconfirmed marks.

    The file of an unconfirmed mark is referenced again or no longer exists.
    """
    unconfirmed = garbage.c.since.is_not(None) & (garbage.c.seen < run.number)
    _one_by_one(connection, delete(garbage).where(unconfirmed), _names(connection, unconfirmed))
    found = {"files": files[0], "bytes": files[1], "trash_files": trash[0], "trash_bytes": trash[1]}
    connection.execute(update(collections).where(collections.c.number == run.number).values(found))


def count(connection: Connection, *, failed: int = 0, refused: int = 0, undeleted: int = 0) -> None:
    """Increment the counters of failures."""
    added = {"failed": failed, "refused": refused, "undeleted": undeleted}
    connection.execute(update(deployment).values({name: deployment.c[name] + number for name, number in added.items()}))


def statistics(connection: Connection) -> CollectionStatistics:
    """Read counters for /metrics, without reading the artifacts folder."""
    counted = connection.execute(select(deployment.c.failed, deployment.c.refused, deployment.c.undeleted)).one()
    found = select(*(collections.c[name] for name in ("files", "bytes", "trash_files", "trash_bytes")))
    complete = found.where(collections.c.files.is_not(None)).order_by(collections.c.number.desc()).limit(1)
    return CollectionStatistics(
        latest(connection).number, *counted, *(connection.execute(complete).first() or (0, 0, 0, 0))
    )


def _insert(connection: Connection) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that supports ON CONFLICT: on Postgres, concurrent collections may mark the same file."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(garbage)
    return postgresql.insert(garbage)


def _pages(names: Iterable[str]) -> list[list[str]]:
    """Names in sorted chunks: a common lock order prevents deadlocks on Postgres."""
    every = sorted(names)
    return [every[start : start + NAMES] for start in range(0, len(every), NAMES)]


def _names(connection: Connection, condition: ColumnElement[bool]) -> list[str]:
    return list(connection.scalars(select(garbage.c.name).where(condition)))


def _one_by_one(connection: Connection, statement: Update | Delete, names: Iterable[str]) -> None:
    """Run the statement for each mark, in the order of `_pages`: a single statement would lock rows in any order."""
    one = statement.where(garbage.c.name == bindparam("key"))
    for some in _pages(names):
        connection.execute(one, [{"key": name} for name in some])
