"""Connections to Postgres that notice a server which no longer answers: timeouts in TCP, server and client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

RV = TypeVar("RV")

STATEMENT_SECONDS = 30.0  # the default of BESTEPOCH_STATEMENT_SECONDS
MARGIN_SECONDS = 5.0  # a client waits longer than the server's statement_timeout, whose error says more
PROMPT_SECONDS = 5.0  # for what takes no time: pings, rollbacks of pooled connections, heartbeats of listeners
IDLE_IN_TRANSACTION = "5min"  # a process that is stopped in a transaction keeps its row locks no longer

# libpq's parameters; those that BESTEPOCH_DATABASE_URL names itself take precedence. A host that vanishes is noticed
# within 10 s where data was sent (tcp_user_timeout, Linux only), else within half a minute (keepalives).
TCP: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 10_000,
}
# The same the other way round: the server lets go of a vanished client's locks.
_SERVER_TCP = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "10000",
}


class GuardedConnection(psycopg.Connection[Any]):
    """Closes itself with an OperationalError when the server is silent for `answer_seconds` while an answer is due.

    TCP's own timeouts notice a vanished host, but not a proxy or a stopped server that still acknowledges packets.
    """

    answer_seconds = PROMPT_SECONDS

    def wait(self, gen: Generator[Any, Any, RV], *arguments: Any, **options: Any) -> RV:
        """Run `gen`, psycopg's exchange with the server, to its end."""
        return super().wait(self._guarded(gen), *arguments, **options)

    def _guarded(self, gen: Generator[Any, Any, RV]) -> Generator[Any, Any, RV]:
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > self.answer_seconds:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {self.answer_seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def set_up_session(connection: psycopg.Connection[Any], statement_seconds: float) -> None:
    """Bound what the server does for this new connection: statements, idle transactions, clients that have vanished."""
    values = {
        "statement_timeout": f"{statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
        **_SERVER_TCP,
    }
    before, connection.autocommit = connection.autocommit, True
    settings = ", ".join(["set_config(%s, %s, false)"] * len(values))
    connection.execute(f"SELECT {settings}", [part for item in values.items() for part in item])
    connection.autocommit = before
