"""Reads the rows of a query from Postgres into a file of JSON Lines: read only, with limits on rows, bytes and time."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections import Counter
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic_core import to_json

from service.connections import postgres_tls
from service.connections.addresses import is_public, resolve
from service.connections.exact_numbers import ExactNumbers
from service.connections.messages import QUERY_FILE, Fetched, FetchedFile, FetchRequest, OpenConnection
from service.errors import InvalidData, SourceError, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

BATCH_ROWS = 2_000
BATCH_BYTES = 4 * 1024**2  # about so much of the rows is in memory at once
CONNECT_SECONDS = 10
DEFAULT_PORT = 5432
TCP = {"connect_timeout": CONNECT_SECONDS, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 30_000}
# Since Postgres 14, the server also ends a query whose client has gone.
_TIMEOUTS = """
SELECT set_config(name, CASE name WHEN 'statement_timeout' THEN %s ELSE '5s' END, true) FROM pg_settings
WHERE name IN ('statement_timeout', 'client_connection_check_interval')
"""
_NO_ACCESS = "the server refuses access: the user or the password of the connection may be wrong"
_REASONS = {
    "does not support SSL": "the server offers no TLS, which its public host, or sslmode of the connection, needs",
    "certificate": "the certificate of the server is for another host, or not signed by the sslrootcert declared",
    'database ".*" does not exist': "the database of the connection does not exist",
    'authentication|password|pg_hba|role ".*" does not exist': _NO_ACCESS,
    "too many (clients|connections)|connection slots": "the server of the connection has no room for another client",
}
"""Reasons by what libpq says where it has no SQLSTATE."""
_NO_SELECT = (
    *(psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported),  # of another statement where a SELECT should be
    *(psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InvalidCursorDefinition),
)


def read_rows(request: FetchRequest) -> Fetched:
    """The rows of `request.query`, in a read-only transaction; without a query, test that the server answers.

    Raises InvalidData saying what is wrong with the query, TooLarge beyond a limit, SourceError, OSError for the disk.
    """
    try:
        opened = _connected(request.connection)
    except psycopg.Error as error:
        raise SourceError(_refusal(request.connection, error)) from None
    try:
        with opened as connection, connection.transaction(force_rollback=True):  # also undoes SET and NOTIFY
            _set_timeouts(connection, request.limits.seconds)
            return Fetched(files=[] if request.query is None else [_read(connection, request, request.query)])
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if isinstance(error, psycopg.errors.QueryCanceled):
            raise InvalidData(_too_slow(request)) from None
        raise SourceError(_refusal(request.connection, error)) from None
    except psycopg.Error as error:
        raise InvalidData(_fault(error)) from None


def _connected(declared: OpenConnection) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection to the declared server, at an address that was checked; raises psycopg.Error, SourceError."""
    info = conninfo_to_dict(declared.url)
    host, found, addresses = str(info["host"]), list[str](), dict[str, str]()
    if host.startswith("/"):
        if not declared.allow_private:
            raise SourceError("a server of this machine is private: declare the connection with --allow-private")
    else:
        found = resolve(host, int(info.get("port") or DEFAULT_PORT), allow_private=declared.allow_private)
        addresses = {"hostaddr": ",".join(found), "host": ",".join([host] * len(found))}
    if fault := postgres_tls.fault(info, public=any(map(is_public, found))):
        raise SourceError(f"the URL of the connection: {fault}")
    tls = postgres_tls.parameters(info, found)
    settings: dict[str, Any] = {**TCP, **info, **tls, **addresses, **declared.secrets, "application_name": "bestepoch"}
    connection = psycopg.connect(**settings)
    connection.read_only = True
    return connection


def _refusal(declared: OpenConnection, error: psycopg.Error) -> str:
    """Why the server gives nothing, without its own words, which name addresses and users: the log has them."""
    said = str(error)
    _log.warning("%s %s %s", type(error).__name__, error.sqlstate, declared.redacted(said)[:1_000])
    if isinstance(error, psycopg.ProgrammingError) or said.startswith("connection is bad: invalid "):
        return f"the URL of the connection has a fault: {said.removeprefix('connection is bad: ').strip()}"
    if (error.sqlstate or "").startswith("28"):
        return _NO_ACCESS
    reasons = (reason for pattern, reason in _REASONS.items() if re.search(pattern, said))
    return next(reasons, "the server of the connection does not answer, or has ended the connection")


def _fault(error: psycopg.Error) -> str:
    """What is wrong with a query, as the server says it."""
    said = (error.diag.message_primary or str(error)).splitlines()[0]
    if isinstance(error, _NO_SELECT):
        return f"the query fails: {said}. A query is one SELECT, which only reads"
    hint = f". {error.diag.message_hint}" if error.diag.message_hint else ""
    return f"the query fails: {said}{hint}"


def _read(connection: psycopg.Connection[tuple[Any, ...]], request: FetchRequest, query: str) -> FetchedFile:
    limits, local = request.limits, request.folder / QUERY_FILE
    digest, size, rows, deadline = hashlib.sha256(), 0, 0, time.monotonic() + limits.seconds
    numbers = ExactNumbers()
    # A server-side cursor takes one statement, which reads: no list of statements, no INSERT, no COPY.
    with connection.cursor("bestepoch") as cursor, local.open("wb") as target:
        cursor.execute(query.encode())
        names = _names(cursor)
        for row in _rows(connection, cursor, deadline):
            rows += 1
            if rows > limits.rows:
                raise TooLarge(f"the query has more than {limits.rows:,} rows, the limit of this server")
            values = {name: _value(numbers, name, value) for name, value in zip(names, row, strict=True)}
            line = to_json(values, inf_nan_mode="null") + b"\n"
            size += len(line)
            if size > limits.size_bytes:
                raise TooLarge(f"the rows have more than {limits.size_bytes:,} bytes, the limit of this server")
            digest.update(line)
            target.write(line)
    if not rows:
        raise InvalidData("the query has no rows")
    sha256, warnings = digest.hexdigest(), numbers.warnings
    return FetchedFile(path=QUERY_FILE, size_bytes=size, sha256=sha256, local=local, warnings=warnings)


def _rows(
    connection: psycopg.Connection[tuple[Any, ...]], cursor: psycopg.ServerCursor[Any], deadline: float
) -> Iterator[tuple[Any, ...]]:
    """The rows, in batches of about BATCH_BYTES; raises QueryCanceled after the deadline.

    The timeouts are set before each batch, for what is left: the query itself may have changed them.
    """
    count = 1
    while True:
        left = deadline - time.monotonic()
        if left < 0.001:
            raise psycopg.errors.QueryCanceled
        _set_timeouts(connection, left)
        batch = cursor.fetchmany(count)
        yield from batch
        if len(batch) < count:
            return
        count = min(BATCH_ROWS, max(1, count * BATCH_BYTES // max(len(repr(batch)), 1)))


def _set_timeouts(connection: psycopg.Connection[tuple[Any, ...]], seconds: float) -> None:
    connection.execute(_TIMEOUTS, [f"{seconds * 1_000:.0f}"])


def _names(cursor: psycopg.ServerCursor[Any]) -> list[str]:
    names = [column.name for column in cursor.description or ()]
    if not names:
        raise InvalidData("the query has no columns")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise InvalidData(f"the query has {times} columns {name!r}: give each a name of its own with AS")
    return names


def _value(numbers: ExactNumbers, name: str, value: Any) -> Any:
    """A value as JSON has it; raises InvalidData for what is no value of a table."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int | Decimal):
        return numbers.json_value(name, value)
    if isinstance(value, bytes | memoryview | list | dict | tuple):
        raise InvalidData(f"column {name!r} holds lists, objects or bytes: only flat columns can be read")
    return _text(value)


def _text(value: Any) -> str:
    """Dates and times in ISO 8601, with an offset as in UTC; anything else as Postgres writes it."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat() if isinstance(value, datetime | date | clock) else str(value)


def _too_slow(request: FetchRequest) -> str:
    return f"the query took longer than {request.limits.seconds:g} seconds, the limit here"
