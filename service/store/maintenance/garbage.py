"""Garbage collection as the database knows it: collections made, marks on files, and the clock that times them.

The clock counts seconds in which collections were made: each one adds what the lease clock says has passed since the
one before, at most STEP_SECONDS. It does not move with the time of day, and stands still while no service runs.
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

STEP_SECONDS = 7_200.0  # a clock that jumps, or a night without a service, counts as no more
REMEMBERED = 1_000  # collections, and all of the last days, however many
REMEMBERED_SECONDS = 7 * 86_400.0
NAMES = 500  # in one statement


@dataclass(frozen=True)
class CollectionRun:
    """A collection under way: its number, and the time by the clock of collections at its start."""

    number: int
    now: float


@dataclass(frozen=True)
class Mark:
    """Since when a file is garbage, and whether a transaction has made it so rather than somebody found it so."""

    since: float | None  # None: since after the last collection began
    discarded: bool


@dataclass(frozen=True)
class CollectionStatistics:
    """What collections have to tell: counts over all of them, and what the last complete one found."""

    collections: int
    failed: int
    refused: int
    undeleted: int
    files: int
    bytes: int
    trash_files: int
    trash_bytes: int


def begin(connection: Connection, apart: float = 0.0) -> CollectionRun | None:
    """Begin a collection: move the clock, and date what was discarded since the last one.

    None when the last one was begun less than `apart` seconds ago, by whichever process.
    """
    connection.execute(select(deployment.c.id).with_for_update())  # one at a time
    clock, boot = lease_clock(connection)
    reading = float(connection.scalar(select(clock)) or 0.0)
    last = connection.execute(select(collections).order_by(collections.c.number.desc()).limit(1)).first()
    now, number = 0.0, 1
    if last is not None:
        passed = reading - last.reading if last.boot == boot else 0.0
        if last.boot == boot and 0 <= passed < apart:
            return None
        now, number = last.clock + min(max(passed, 0.0), STEP_SECONDS), last.number + 1
    row = {"number": number, "clock": now, "reading": reading, "boot": boot, "wall": datetime.now(UTC)}
    connection.execute(insert(collections).values(row))
    old = collections.c.number <= number - REMEMBERED, collections.c.clock < now - REMEMBERED_SECONDS
    connection.execute(delete(collections).where(*old))
    undated = garbage.c.since.is_(None)
    _one_by_one(connection, update(garbage).where(undated).values(since=now, seen=number), _names(connection, undated))
    return CollectionRun(number, now)


def latest(connection: Connection) -> CollectionRun:
    """The last collection that was begun; one of number 0 when there was none."""
    query = select(collections.c.number, collections.c.clock).order_by(collections.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return CollectionRun(0, 0.0) if row is None else CollectionRun(row.number, row.clock)


def earliest_time(connection: Connection, turn: CollectionRun, apart: float) -> datetime | None:
    """The earliest time of day of the collections from at least `apart` seconds ago until now; None: none is as old.

    What is due by it was due at every one of these, so a time of day that was wrong at some of them decides nothing.
    """
    before = collections.c.clock <= turn.now - apart, collections.c.number <= turn.number
    first = connection.scalar(select(func.max(collections.c.number)).where(*before))
    if first is None:
        return None
    since = select(func.min(collections.c.wall)).where(collections.c.number >= first)
    earliest: datetime | None = connection.scalar(since)
    return earliest


def discard(connection: Connection, names: Collection[str]) -> None:
    """Files that this transaction takes the rows of: collected after the grace period, unless a row names them again.

    A live job's, too, of which nobody could otherwise tell whether their rows are still to come.
    """
    afresh = {"since": None, "seen": 0, "discarded": True}
    for some in _pages(names):
        statement = _insert(connection).on_conflict_do_update(index_elements=["name"], set_=afresh)
        connection.execute(statement, [{"name": name, **afresh} for name in some])


def marks(connection: Connection, names: Collection[str]) -> dict[str, Mark]:
    """The marks of those of these files that have one."""
    found = {}
    for some in _pages(names):
        for row in connection.execute(select(garbage).where(garbage.c.name.in_(some))):
            found[row.name] = Mark(row.since, row.discarded)
    return found


def mark(connection: Connection, turn: CollectionRun, names: Collection[str]) -> dict[str, Mark]:
    """These files are garbage at this collection: mark those that were not yet, and give the marks of all."""
    fresh = {"since": turn.now, "seen": turn.number, "discarded": False}
    for some in _pages(names):
        statement = _insert(connection).on_conflict_do_update(index_elements=["name"], set_={"seen": turn.number})
        connection.execute(statement, [{"name": name, **fresh} for name in some])
    return marks(connection, names)


def forget(connection: Connection, names: Collection[str]) -> None:
    """These files are gone."""
    _one_by_one(connection, delete(garbage), names)


def end(connection: Connection, turn: CollectionRun, files: tuple[int, int], trash: tuple[int, int]) -> None:
    """A collection has seen everything: (number, bytes) of the files and of the trash.

    A mark that it did not confirm goes: its file is named again, or is gone.
    """
    unconfirmed = garbage.c.since.is_not(None) & (garbage.c.seen < turn.number)
    _one_by_one(connection, delete(garbage).where(unconfirmed), _names(connection, unconfirmed))
    found = {"files": files[0], "bytes": files[1], "trash_files": trash[0], "trash_bytes": trash[1]}
    connection.execute(update(collections).where(collections.c.number == turn.number).values(found))


def count(connection: Connection, *, failed: int = 0, refused: int = 0, undeleted: int = 0) -> None:
    """Add to what the service tells of its collections."""
    added = {"failed": failed, "refused": refused, "undeleted": undeleted}
    connection.execute(update(deployment).values({name: deployment.c[name] + number for name, number in added.items()}))


def statistics(connection: Connection) -> CollectionStatistics:
    """For /metrics; no file is looked at."""
    counted = connection.execute(select(deployment.c.failed, deployment.c.refused, deployment.c.undeleted)).one()
    found = select(*(collections.c[name] for name in ("files", "bytes", "trash_files", "trash_bytes")))
    complete = found.where(collections.c.files.is_not(None)).order_by(collections.c.number.desc()).limit(1)
    return CollectionStatistics(
        latest(connection).number, *counted, *(connection.execute(complete).first() or (0, 0, 0, 0))
    )


def _insert(connection: Connection) -> sqlite.Insert | postgresql.Insert:
    """Others may mark the same file at the same time, on Postgres: none of them must fail for it."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(garbage)
    return postgresql.insert(garbage)


def _pages(names: Iterable[str]) -> list[list[str]]:
    """Sorted: on Postgres, two that lock the same rows in different orders deadlock."""
    every = sorted(names)
    return [every[start : start + NAMES] for start in range(0, len(every), NAMES)]


def _names(connection: Connection, condition: ColumnElement[bool]) -> list[str]:
    return list(connection.scalars(select(garbage.c.name).where(condition)))


def _one_by_one(connection: Connection, statement: Update | Delete, names: Iterable[str]) -> None:
    """Run this on each of these marks, in the order of `_pages`: one statement about many locks them in any order."""
    one = statement.where(garbage.c.name == bindparam("key"))
    for some in _pages(names):
        connection.execute(one, [{"key": name} for name in some])
