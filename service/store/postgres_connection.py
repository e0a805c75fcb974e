"""Connections to Postgres with timeouts for TCP, server and client, to detect a server that does not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from sqlalchemy.exc import InvalidatePoolError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sqlalchemy.pool import ConnectionPoolEntry

RV = TypeVar("RV")

STATEMENT_SECONDS = 30.0  # the default of BESTEPOCH_STATEMENT_SECONDS
MARGIN_SECONDS = 5.0  # client timeout beyond statement_timeout, whose error says more
PROMPT_SECONDS = 5.0  # for pings, rollbacks in the pool, heartbeats
IDLE_SECONDS = 1.0  # in the pool, after which a connection is tested before its next use
IDLE_IN_TRANSACTION = "5min"  # limits row locks of a process that hangs in a transaction

# libpq parameters; those in BESTEPOCH_DATABASE_URL take precedence. A vanished host is detected within 10 s after
# data was sent (tcp_user_timeout, Linux only), else within 30 s (keepalives).
TCP: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 10_000,
}
# The same for the server, which then releases the locks of a vanished client.
_SERVER_TCP = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "10000",
}


class GuardedConnection(psycopg.Connection[Any]):
    """Closes itself with an OperationalError when the server does not answer for `answer_seconds`.

    TCP timeouts detect a vanished host, but not a proxy or a stopped server that still acknowledges packets.
    """

    answer_seconds = PROMPT_SECONDS

    def wait(self, gen: Generator[Any, Any, RV], *arguments: Any, **options: Any) -> RV:
        """Run `gen`, psycopg's protocol exchange, with the timeout."""
        return super().wait(self._with_timeout(gen), *arguments, **options)

    def _with_timeout(self, gen: Generator[Any, Any, RV]) -> Generator[Any, Any, RV]:
        answered_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    answered_at = time.monotonic()
                elif time.monotonic() - answered_at > self.answer_seconds:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {self.answer_seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def set_up_session(connection: psycopg.Connection[Any], statement_seconds: float) -> None:
    """Set server timeouts of a new connection: statements, idle transactions, vanished clients."""
    values = {
        "statement_timeout": f"{statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
        **_SERVER_TCP,
    }
    autocommit, connection.autocommit = connection.autocommit, True
    settings = ", ".join(["set_config(%s, %s, false)"] * len(values))
    connection.execute(f"SELECT {settings}", [part for item in values.items() for part in item])
    connection.autocommit = autocommit


def set_pool_timeout(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """In the pool, a connection only runs rollbacks and pings: a short timeout."""
    connection.answer_seconds = PROMPT_SECONDS
    record.info["returned_at"] = time.monotonic()


def ping_if_idle(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Test a connection that has been in the pool for a while; the pool replaces all of them if it is broken.

    A ping before each use takes as long as most statements. A connection that breaks within that second fails one
    request, with a 503.
    """
    if time.monotonic() - record.info.get("returned_at", time.monotonic()) < IDLE_SECONDS:
        return
    try:
        autocommit, connection.autocommit = connection.autocommit, True
        connection.execute("SELECT 1")
        connection.autocommit = autocommit
    except psycopg.Error as error:
        raise InvalidatePoolError from error
