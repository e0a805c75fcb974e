"""The driver of sweeps: a thread that finds those with a decision due, and takes it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import TYPE_CHECKING

from service.api.context import RequestContext
from service.api.sweeps.advance import advance, give_up
from service.domain.access import Caller, Scope
from service.errors import SchemaMismatch, StorageError, Unavailable
from service.store import decisions
from service.store.backoff import Backoff

if TYPE_CHECKING:
    from concurrent.futures import Future

    from service.api.context import AppState

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0  # between two looks for sweeps that another process has made, while none is known
LISTEN_SECONDS = 0.2  # at most between two looks while decisions are due
AT_ONCE = 4  # sweeps whose decisions are computed or carried out at a time
BACK_OFF_SECONDS = (0.5, 30.0)
TRIES = 5  # of a decision that fails for an unexpected reason


class SweepDriver:
    """Takes the decisions of sweeps. Each API process has one; a decision is recorded once, by the first of them."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._wake_up, self._stopped = state.decisions_due, Event()
        self._at_work: dict[str, Future[None]] = {}
        self._failures: dict[str, _Failures] = {}
        self._thread = Thread(target=self._run, name="sweep-driver", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after what is being decided, but for the proposals of TPE, which may take long; blocks."""
        self._stopped.set()
        self._wake_up.set()
        self._state.tpe.close()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep") as pool:
            while not self._stopped.is_set():
                self._wake_up.clear()
                try:
                    if self._look(pool):
                        self._follow(pool)
                except Exception:
                    log.exception("the driver of sweeps could not look for decisions, and tries again")
                if not self._stopped.is_set():
                    self._wake_up.wait(IDLE_SECONDS)

    def _follow(self, pool: ThreadPoolExecutor) -> None:
        """Look after each change, until there are no decisions to take."""
        changes = self._state.database.listen()
        try:
            while self._look(pool) and not self._stopped.is_set():
                changes.wait(LISTEN_SECONDS)
        finally:
            changes.close()

    def _look(self, pool: ThreadPoolExecutor) -> bool:
        """Start what is due; whether any sweep has decisions to take."""
        try:
            with self._state.database.reading() as connection:
                pending = decisions.pending(connection)
        except (Unavailable, StorageError, SchemaMismatch) as error:
            log.warning("the database is unavailable: %s", error)
            return False
        self._at_work = {sweep: work for sweep, work in self._at_work.items() if not work.done()}
        self._failures = {each.id: failures for each in pending if (failures := self._failures.get(each.id))}
        for tenant, sweep, key, due in pending:
            failures = self._failures.get(sweep)
            if due and sweep not in self._at_work and (failures is None or not failures.back_off.is_waiting()):
                self._at_work[sweep] = pool.submit(self._advance, tenant, sweep, key)
        return bool(pending)

    def _advance(self, tenant: str, sweep: str, key: str | None) -> None:
        caller = Caller(tenant, Scope.submit, key)
        context = RequestContext(self._state, caller, self._state.database.of(tenant))
        try:
            while not self._stopped.is_set() and advance(context, sweep):
                pass
            self._failures.pop(sweep, None)
        except Exception as error:
            expected = isinstance(error, Unavailable | StorageError | SchemaMismatch)
            failures = self._failures.setdefault(sweep, _Failures())
            failures.back_off.failed()
            failures.count += not expected
            log.log(logging.WARNING if expected else logging.ERROR, "%s waits: %s", sweep, error, exc_info=not expected)
            if failures.count >= TRIES:
                give_up(context, sweep, f"{type(error).__name__}: {error}")


class _Failures:
    """Failed decisions of a sweep."""

    def __init__(self) -> None:
        self.back_off, self.count = Backoff(*BACK_OFF_SECONDS), 0
