"""Change notifications: SQLite's data_version counter is polled, Postgres sends NOTIFY to listeners.

On Postgres workers listen for queued jobs alone, others for every commit.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from multiprocessing.connection import wait as wait_for_any
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import func, select

from service.store.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe

    from sqlalchemy import Connection

log = logging.getLogger(__name__)

CHANNEL = "bestepoch"  # of every commit
QUEUE_CHANNEL = "bestepoch_queue"  # of commits that queue jobs
POLL_SECONDS = 0.005
DEBOUNCE_SECONDS = 0.02  # between two notifications, so that a burst of commits causes few reads
RETRY_SECONDS = (0.1, 5.0)  # initial and maximum delay before reconnecting
HEARTBEAT_SECONDS = 15.0  # without a notification, then the connection is tested


def tell_workers(connection: Connection) -> None:
    """At this transaction's commit, wake workers that listen for queued jobs."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(QUEUE_CHANNEL, "")))


class ChangeListener(ABC):
    """Listens for commits of other connections; not thread-safe."""

    @abstractmethod
    def poll(self) -> bool:
        """Whether there may have been a commit since the last call; does not block."""

    @abstractmethod
    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """Block for `seconds`, until a commit or until one of `pipes` is readable; whether there was a commit."""

    def rest(self) -> None:  # noqa: B027
        """Cost the server nothing until the next `poll` or `wait`, which reports a change."""

    @abstractmethod
    def close(self) -> None:
        """Close the listening connection."""


class SqliteChangeListener(ChangeListener):
    """Polls SQLite's data_version, at microseconds a call.

    `connection` must be in autocommit: inside a transaction, the counter stands still.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._seen = self._data_version()

    def poll(self) -> bool:
        """See `ChangeListener.poll`."""
        version = self._data_version()
        changed, self._seen = version != self._seen, version
        return changed

    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """See `ChangeListener.wait`; polls every 5 ms."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = _sleep(min(left, POLL_SECONDS), pipes)
            if self.poll():
                return True
            if ready:
                return False
        return False

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the listening connection."""
        self._connection.close()


class PostgresChangeListener(ChangeListener):
    """LISTENs on a connection of its own, opened by `connect` in autocommit.

    Notifications may be lost with the connection: `poll` reports a change when it breaks and at each attempt to
    reconnect, which are made with exponential backoff.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection], channel: str = CHANNEL) -> None:
        self._connect, self._channel = connect, channel
        self._connection: psycopg.Connection | None = None
        self._resting = False
        self._debounce_until = self._heard_at = 0.0
        self._backoff = Backoff(*RETRY_SECONDS)
        self._listen()

    def poll(self) -> bool:
        """See `ChangeListener.poll`; also true when notifications may have been lost."""
        if self._connection is None:
            if self._backoff.is_waiting():
                return False
            self._listen()
            return True
        notified = self._resting
        try:
            if self._resting:
                self._connection.execute(f"LISTEN {self._channel}")
                self._resting = False
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                notified = True
            if not notified and time.monotonic() - self._heard_at > HEARTBEAT_SECONDS:
                self._connection.execute("SELECT 1")  # raises when the server does not answer in time
                notified = True  # psycopg swallows notifications received meanwhile
            if notified:
                self._heard_at = time.monotonic()
        except psycopg.Error as error:
            log.warning("connection for notifications lost, reconnecting: %s", error)
            self.close()
            self._backoff.failed()
            return True
        return notified

    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """See `ChangeListener.wait`; blocks on the socket without sending statements."""
        now = time.monotonic()
        deadline = now + seconds
        if now < self._debounce_until and _sleep(min(self._debounce_until, deadline) - now, pipes):
            return self.poll()
        while not self.poll():
            now = time.monotonic()
            if now >= deadline:
                return False
            if self._connection is None:
                ready = _sleep(min(deadline, self._backoff.until) - now, pipes)
            else:
                until = min(deadline, self._heard_at + HEARTBEAT_SECONDS)
                ready = _sleep(until - now, [*pipes, self._connection])
            if any(one is not self._connection for one in ready):
                return self.poll()
        self._debounce_until = time.monotonic() + DEBOUNCE_SECONDS
        return True

    def rest(self) -> None:
        """See `ChangeListener.rest`: each commit of anybody makes Postgres run each session that listens."""
        if self._connection is None or self._resting:
            return
        try:
            self._connection.execute("UNLISTEN *")
            self._resting = True
        except psycopg.Error:
            self.close()  # the next poll reconnects

    def _listen(self) -> None:
        try:
            self._connection = self._connect()
            self._connection.execute(f"LISTEN {self._channel}")
            self._resting = False
            self._heard_at = time.monotonic()
        except psycopg.Error as error:
            log.info("cannot connect for notifications yet: %s", error)
            self.close()
            self._backoff.failed()
        else:
            self._backoff.reset()

    def close(self) -> None:
        """Close the listening connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _sleep(seconds: float, until_readable: Sequence[Any]) -> list[Any]:
    """Sleep for `seconds` or until one of these is readable; returns the readable ones."""
    return list(wait_for_any(until_readable, max(seconds, 0.0))) if until_readable else _nap(seconds)


def _nap(seconds: float) -> list[Any]:
    time.sleep(max(seconds, 0.0))
    return []
