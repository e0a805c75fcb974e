"""One database, SQLite or Postgres: connections, transactions, the lease clock, migrations."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Float, create_engine, event, exc, func, literal, make_url, text

from service.errors import Misconfigured, SchemaMismatch, StorageError, Unavailable
from service.store import schema
from service.store.changes import CHANNEL, PostgresChanges, SqliteChanges
from service.store.sqlite_copy import copy_before_migration
from service.store.tenancy import OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, ColumnElement, Connection

    from service.store.changes import Changes

try:
    import pysqlite3 as sqlite_module
except ImportError:  # no wheel for this platform
    sqlite_module = sqlite3

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
CONNECT_SECONDS = 10
WAL_RETRY_SECONDS = 0.005
SAFE_SQLITE = (3, 51, 3)
# Nobody is told of a transaction that wrote nothing, else two that look would wake each other for ever.
_TELL = text(f"SELECT pg_notify('{CHANNEL}', '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL")
# A silent connection whose other end is gone is noticed within half a minute.
_LISTENING = {
    "autocommit": True,
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}
_UNDEFINED = ("42P01", "42703")  # Postgres: table, column
_NO_SUCH = ("no such table", "no such column", "has no column named")  # SQLite
_URLS = "BESTEPOCH_DATABASE_URL must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str) -> None:
        self.url = _normalize(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _warn_if_unsafe()
            Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
            arguments: dict[str, Any] = {
                "module": sqlite_module,
                "connect_args": {"isolation_level": None, "timeout": LOCK_SECONDS},
            }
        else:
            arguments = {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_SECONDS}}
        self._engine = create_engine(self.url, pool_size=8, max_overflow=32, pool_timeout=LOCK_SECONDS, **arguments)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def transaction(self, tenant: str | None = None, *, quiet: bool = False) -> Iterator[Connection]:
        """A read-write transaction: commits at the end, rolls back on any error. `tenant`: as for `reading`.

        Who waits for changes hears of it, on Postgres not if it is `quiet`: a sign of life is no news to anybody.
        Raises Unavailable when the database cannot be reached or stays locked, StorageError when its disk fails.
        """
        with _said_plainly(), self._engine.connect() as connection:
            connection = connection.execution_options(bestepoch_writes=True, **{OPTION: tenant})
            with connection.begin():
                yield connection
                if not (self.is_sqlite or quiet):
                    connection.execute(_TELL)

    @contextmanager
    def reading(self, tenant: str | None = None) -> Iterator[Connection]:
        """A connection for reads, of one tenant's rows, or for the service itself, which serves all of them.

        Raises Unavailable when the database cannot be reached.
        """
        options: dict[str, Any] = {OPTION: tenant}
        if not self.is_sqlite and tenant is not None:
            # There a statement sees what is committed as it begins, in a transaction or not: save two round trips.
            options["isolation_level"] = "AUTOCOMMIT"
        with _said_plainly(), self._engine.connect() as connection:
            yield connection.execution_options(**options)

    def of(self, tenant: str) -> TenantDatabase:
        """The database as this tenant may see it."""
        return TenantDatabase(self, tenant)

    def changes(self) -> Changes:
        """A watch of its own for commits."""
        if self.is_sqlite:
            path = self.url.database
            return SqliteChanges(sqlite_module.connect(path, isolation_level=None, check_same_thread=False))
        arguments, options = self._engine.dialect.create_connect_args(self.url)
        return PostgresChanges(lambda: psycopg.connect(*arguments, **{**options, **_LISTENING}))

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


@dataclass(frozen=True)
class TenantDatabase:
    """The same database, with nobody's rows but one tenant's."""

    _all: Database
    _tenant: str

    @property
    def is_sqlite(self) -> bool:
        """Which of the two it is."""
        return self._all.is_sqlite

    def reading(self) -> AbstractContextManager[Connection]:
        """See `Database.reading`."""
        return self._all.reading(self._tenant)

    def transaction(self) -> AbstractContextManager[Connection]:
        """See `Database.transaction`."""
        return self._all.transaction(self._tenant)


def lease_clock(connection: Connection) -> tuple[ColumnElement[float], str]:
    """(now in seconds, boot id): the clock that leases are measured by, which no change of the wall clock moves.

    Postgres: the server's own clock. SQLite: this machine's monotonic clock, which starts anew with each boot.
    """
    if connection.dialect.name == "sqlite":
        return literal(time.monotonic(), Float), _boot_id()
    return func.extract("epoch", func.clock_timestamp()).cast(Float), ""


@cache
def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.exists():
        return path.read_text().strip()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return ""


def migrate(url: str) -> None:
    """Bring the database to the newest schema; safe to run twice, and at once from several machines.

    A SQLite file with an older schema is copied first. Raises SchemaMismatch, and StorageError without room for a copy.
    """
    database = Database(url)
    try:
        with database.transaction() as connection:
            if database.is_sqlite:
                _copy_first(database, connection)
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(4717)"))
            schema.upgrade(connection)
    finally:
        database.close()


def _copy_first(database: Database, connection: Connection) -> None:
    revision = schema.revision_of(connection)
    if revision is not None and schema.is_behind(revision):
        copy = copy_before_migration(Path(database.url.database or ""), revision, sqlite_module.connect)
        log.warning("the database is migrated; as it was before, it is in %s", copy)


def _normalize(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise Misconfigured(_URLS) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise Misconfigured(_URLS)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=FULL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()
    deadline = time.monotonic() + LOCK_SECONDS
    while True:  # switching a new file to WAL does not wait for a lock by itself
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite_module.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(WAL_RETRY_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bestepoch_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _warn_if_unsafe() -> None:
    if sqlite_module.sqlite_version_info < SAFE_SQLITE:
        log.warning(
            "SQLite %s has a WAL-reset bug that can corrupt the file; 3.51.3 or newer is safe (Python %s)",
            sqlite_module.sqlite_version,
            sys.version.split()[0],
        )


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        message = str(getattr(error, "orig", error))
        _check_names(error)
        if "disk" in message or "No space" in message:
            raise StorageError(f"the database could not write: {message}") from error
        raise Unavailable("the database cannot be reached right now; try again") from error
    except exc.DatabaseError as error:
        _check_names(error)
        if any(words in str(error.orig) for words in ("malformed", "not a database")):
            raise StorageError(f"the database file is damaged: {error.orig}") from error
        raise


def _check_names(error: exc.SQLAlchemyError) -> None:
    """Raise SchemaMismatch where a statement names a table or column that is not there."""
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlstate", None) in _UNDEFINED or any(words in str(cause) for words in _NO_SUCH):
        what = "the database lacks tables or columns that this version needs"
        how = "`/readyz` and `bestepoch doctor` say what to do"
        raise SchemaMismatch(f"{what}, as if another version had migrated it: {how}") from error
