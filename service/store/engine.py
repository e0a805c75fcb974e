"""Database engine for SQLite and Postgres: connection pool, transactions, the lease clock, migrations."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, create_engine, event, func, literal, make_url, select, text
from sqlalchemy.exc import ArgumentError

from service.errors import Misconfigured
from service.store import (  # noqa: F401  (`metadata` has all tables)
    api_usage,
    connection_tables,
    decision_tables,
    migrations,
    model_tables,
    upload_tables,
    worker_tables,
)
from service.store.database_errors import translate_errors
from service.store.notifications import CHANNEL, PostgresChangeListener, SqliteChangeListener
from service.store.postgres_connection import (
    MARGIN_SECONDS,
    PROMPT_SECONDS,
    STATEMENT_SECONDS,
    TCP,
    GuardedConnection,
    ping_if_idle,
    set_pool_timeout,
    set_up_session,
)
from service.store.sqlite_backup import back_up
from service.store.tenancy import TENANT_OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import psycopg
    from sqlalchemy import URL, ColumnElement, Connection

    from service.store.notifications import ChangeListener

try:
    import pysqlite3 as sqlite_module
except ImportError:  # no wheel for this platform
    sqlite_module = sqlite3

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
LONG_STATEMENT_SECONDS = 6 * 3_600.0
WAL_RETRY_SECONDS = 0.005
SAFE_SQLITE = (3, 51, 3)
# No NOTIFY for read-only transactions; pollers would wake each other.
_NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL")
_URLS = "BESTEPOCH_DATABASE_URL must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


class Database:
    """A connection pool of one database."""

    def __init__(self, url: str, statement_seconds: float = STATEMENT_SECONDS) -> None:
        """`statement_seconds`: Postgres's statement timeout; SQLite runs in this process and has none."""
        self.url = _normalize(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._statement_seconds = statement_seconds
        self._tcp = {name: value for name, value in TCP.items() if name not in self.url.query}
        if self.is_sqlite:
            _warn_if_unsafe()
            _create_file(Path(self.url.database or ""))
            arguments: dict[str, Any] = {
                "module": sqlite_module,
                "connect_args": {"isolation_level": None, "timeout": LOCK_SECONDS},
            }
        else:
            arguments = {"connect_args": self._tcp}
        self._engine = create_engine(self.url, pool_size=8, max_overflow=32, pool_timeout=LOCK_SECONDS, **arguments)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "do_connect", _connect_postgres)
            event.listen(self._engine, "connect", lambda new, _record: set_up_session(new, statement_seconds))
            event.listen(self._engine, "checkout", ping_if_idle)
            event.listen(self._engine, "reset", set_pool_timeout)

    @contextmanager
    def transaction(self, tenant: str | None = None, *, quiet: bool = False) -> Iterator[Connection]:
        """A read-write transaction: commits at the end, rolls back on any error. `tenant`: as for `reading`.

        `quiet`, for heartbeats: sends no NOTIFY, and times out within seconds, before a lease expires.
        Raises Unavailable when the database cannot be reached or stays locked, StorageError when its disk fails.
        """
        with translate_errors(), self._engine.connect() as connection:
            self._set_timeout(connection, prompt=quiet)
            connection = connection.execution_options(bestepoch_writes=True, **{TENANT_OPTION: tenant})
            with connection.begin():
                yield connection
                if not (self.is_sqlite or quiet):
                    connection.execute(_NOTIFY)

    @contextmanager
    def reading(self, tenant: str | None = None, *, once: bool = False, prompt: bool = False) -> Iterator[Connection]:
        """A read-only connection: to one tenant's rows, or (None) to those of all tenants.

        `once`: for a single statement, without a transaction: one round trip instead of three. `prompt`: times out
        within seconds.
        Raises Unavailable when the database cannot be reached.
        """
        options: dict[str, Any] = {TENANT_OPTION: tenant}
        if not self.is_sqlite and (tenant is not None or once):
            # READ COMMITTED gives each statement its own snapshot anyway: autocommit saves two round trips.
            options["isolation_level"] = "AUTOCOMMIT"
        with translate_errors(), self._engine.connect() as connection:
            self._set_timeout(connection, prompt=prompt)
            yield connection.execution_options(**options)

    def _set_timeout(self, connection: Connection, *, prompt: bool = False) -> None:
        if not self.is_sqlite:
            _set_answer_timeout(connection, PROMPT_SECONDS if prompt else self._statement_seconds + MARGIN_SECONDS)

    def of(self, tenant: str) -> TenantDatabase:
        """The database, limited to this tenant's rows."""
        return TenantDatabase(self, tenant)

    def listen(self, channel: str = CHANNEL) -> ChangeListener:
        """A listener on a connection of its own, on Postgres for the commits that notify this channel."""
        if self.is_sqlite:
            path = self.url.database
            return SqliteChangeListener(sqlite_module.connect(path, isolation_level=None, check_same_thread=False))
        arguments, options = self._engine.dialect.create_connect_args(self.url)
        listening = {**options, **self._tcp, "autocommit": True}

        def connect() -> psycopg.Connection[Any]:
            return GuardedConnection.connect(*arguments, **listening)

        return PostgresChangeListener(connect, channel)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


@dataclass(frozen=True)
class TenantDatabase:
    """A database limited to one tenant's rows."""

    _all: Database
    _tenant: str

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, not Postgres."""
        return self._all.is_sqlite

    def reading(self) -> AbstractContextManager[Connection]:
        """See `Database.reading`."""
        return self._all.reading(self._tenant)

    def transaction(self) -> AbstractContextManager[Connection]:
        """See `Database.transaction`."""
        return self._all.transaction(self._tenant)


def lease_clock(connection: Connection) -> tuple[ColumnElement[float], str]:
    """(now in seconds, boot id) of the clock for leases; changes of the wall clock do not affect it.

    Postgres: the server's clock. SQLite: this machine's monotonic clock, which restarts at each boot.
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


def allow_long_statements(connection: Connection) -> None:
    """Raise the statement timeout of this transaction to hours, for migrations and mass deletions."""
    if connection.dialect.name == "postgresql":
        milliseconds = f"{LONG_STATEMENT_SECONDS * 1_000:.0f}"
        connection.execute(select(func.set_config("statement_timeout", milliseconds, True)))
        _set_answer_timeout(connection, LONG_STATEMENT_SECONDS + MARGIN_SECONDS)


def is_writable(connection: Connection) -> bool:
    """Whether the database accepts writes: Postgres does not as a standby, or if set read-only on a full disk."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(connection.scalar(text("SHOW transaction_read_only")) == "off")


def migrate(url: str) -> None:
    """Migrate the database to the newest schema; idempotent, and safe to run concurrently from several machines.

    A SQLite file with an older schema is backed up first. Raises SchemaMismatch, and StorageError if the backup fails.
    """
    database = Database(url)
    try:
        with database.transaction() as connection:
            allow_long_statements(connection)
            if database.is_sqlite:
                _back_up(database, connection)
            else:
                connection.execute(text("SELECT pg_advisory_xact_lock(4717)"))
            migrations.upgrade(connection)
    finally:
        database.close()


def _back_up(database: Database, connection: Connection) -> None:
    revision = migrations.revision_of(connection)
    if revision is not None and migrations.is_behind(revision):
        backup = back_up(Path(database.url.database or ""), revision, sqlite_module.connect)
        log.warning("migrating the database; backup: %s", backup)


def _normalize(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Misconfigured(_URLS) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise Misconfigured(_URLS)


def _create_file(path: Path) -> None:
    """Create an empty file with its folder: one created by SQLite would never be group-writable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=FULL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()
    deadline = time.monotonic() + LOCK_SECONDS
    while True:  # the switch to WAL ignores the busy timeout
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


def _connect_postgres(_dialect: Any, _record: Any, arguments: Any, options: Any) -> psycopg.Connection[Any]:
    return GuardedConnection.connect(*arguments, **options)


def _set_answer_timeout(connection: Connection, seconds: float) -> None:
    guarded: Any = connection.connection.dbapi_connection
    guarded.answer_seconds = seconds


def _warn_if_unsafe() -> None:
    if sqlite_module.sqlite_version_info < SAFE_SQLITE:
        log.warning(
            "SQLite %s has a WAL-reset bug that can corrupt the file; 3.51.3 or newer is safe (Python %s)",
            sqlite_module.sqlite_version,
            sys.version.split()[0],
        )
