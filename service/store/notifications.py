"""Notices that others have committed: SQLite counts commits in its file, Postgres tells those who listen."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from multiprocessing.connection import wait as wait_for_any
from typing import TYPE_CHECKING, Any

import psycopg

from service.store.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe

log = logging.getLogger(__name__)

CHANNEL = "bestepoch"
LOOK_SECONDS = 0.005
PAUSE_SECONDS = 0.02  # between two that Postgres tells of, so that a storm of commits is no storm of looks
RETRY_SECONDS = (0.1, 5.0)  # until the next try to listen again: the first time, and at most
HEARTBEAT_SECONDS = 15.0  # of silence, after which Postgres is asked whether it is still there


class ChangeListener(ABC):
    """A watch for commits by others, for one thread at a time."""

    @abstractmethod
    def poll(self) -> bool:
        """Whether somebody may have committed something since the last look; does not wait."""

    @abstractmethod
    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """Block until something happened or one of `pipes` can be read, for at most `seconds`; whether it happened."""

    @abstractmethod
    def close(self) -> None:
        """Close the watching connection."""


class SqliteChangeListener(ChangeListener):
    """Asks SQLite how often the file was changed, at microseconds a look.

    `connection`: in autocommit and never inside a transaction, where the counter would stand still.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._seen = self._look()

    def poll(self) -> bool:
        """Whether the counter has moved."""
        version = self._look()
        changed, self._seen = version != self._seen, version
        return changed

    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """A look every 5 ms."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = _sleep(min(left, LOOK_SECONDS), pipes)
            if self.poll():
                return True
            if ready:
                return False
        return False

    def _look(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the watching connection."""
        self._connection.close()


class PostgresChangeListener(ChangeListener):
    """Listens on a connection of its own, opened by `connect` in autocommit.

    When it breaks, something may have happened: now, and once more when it is back or could not be had, which is
    tried again and again, less and less often.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None
        self._quiet_until = self._heard_at = 0.0
        self._backoff = Backoff(*RETRY_SECONDS)
        self._listen()

    def poll(self) -> bool:
        """Whether Postgres told of a commit, or may have failed to."""
        if self._connection is None:
            if self._backoff.is_waiting():
                return False
            self._listen()
            return True
        told = False
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                told = True
            if not told and time.monotonic() - self._heard_at > HEARTBEAT_SECONDS:
                self._connection.execute("SELECT 1")  # raises where nobody answers in time
                told = True  # psycopg keeps to itself what it was told of meanwhile
            if told:
                self._heard_at = time.monotonic()
        except psycopg.Error as error:
            log.warning("the database tells of no changes, listening again soon: %s", error)
            self.close()
            self._backoff.failed()
            return True
        return told

    def wait(self, seconds: float, pipes: Sequence[Pipe] = ()) -> bool:
        """Sleeps until Postgres speaks: no statement is sent."""
        now = time.monotonic()
        deadline = now + seconds
        if now < self._quiet_until and _sleep(min(self._quiet_until, deadline) - now, pipes):
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
        self._quiet_until = time.monotonic() + PAUSE_SECONDS
        return True

    def _listen(self) -> None:
        try:
            self._connection = self._connect()
            self._connection.execute(f"LISTEN {CHANNEL}")
            self._heard_at = time.monotonic()
        except psycopg.Error as error:
            log.info("cannot listen for changes yet: %s", error)
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
    """For at most `seconds`, until one of these can be read; those that can."""
    return list(wait_for_any(until_readable, max(seconds, 0.0))) if until_readable else _nap(seconds)


def _nap(seconds: float) -> list[Any]:
    time.sleep(max(seconds, 0.0))
    return []
