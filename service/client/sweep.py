"""A sweep of the service, from Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from service.client import progress_bar
from service.client.job import Job
from service.lifecycle import Job as JobState
from service.sweep_records import Sweep as State
from service.sweep_records import SweepPoint, SweepResult, SweepStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.client.transport import Transport

LOOK_SECONDS = 0.5  # from one look to the next, for whoever watches
PAGE = 1_000  # rows


class Sweep:
    """Many jobs from one base: `state` is what the service said last; `refresh()` asks anew."""

    def __init__(self, transport: Transport, state: State) -> None:
        self._transport, self.state = transport, state
        self._path = f"/v1/sweeps/{state.id}"

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.state.counts.items() if count)
        best = self.state.best
        found = "" if best is None else f", best {best.monitor} {best.value:.4g} of {best.job}"
        return f"<Sweep {self.id}: {self.state.status}, {counts or 'no jobs'}{found}>"

    @property
    def id(self) -> str:
        """Its id."""
        return self.state.id

    def refresh(self, wait: float = 0.0) -> Sweep:
        """Ask how it stands; with `wait` the answer comes when all jobs have ended, or after so many seconds (60 at
        most)."""
        options = {"params": {"wait": wait}, "timeout": wait + 30.0} if wait else {}
        self.state = State.model_validate(self._transport.json("GET", self._path, **options))
        return self

    def wait(
        self, seconds: float | None = None, each: Callable[[State], None] | None = None, *, progress: bool = False
    ) -> Sweep:
        """Return when all its jobs have ended; `each` is called with how it stands on the way. Raises TimeoutError.

        `progress`: in a terminal, a bar of its jobs in place of `each`.
        """
        if progress:
            with progress_bar.of_jobs(self.state.jobs) as shown:
                return self.wait(seconds, shown or each)
        deadline = None if seconds is None else time.monotonic() + seconds
        longest = 60.0 if each is None else LOOK_SECONDS
        while self.state.status is SweepStatus.running:
            left = longest if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
            self.refresh(min(left, longest))
            if each is not None:
                each(self.state)
        return self

    def cancel(self) -> Sweep:
        """Stop all its jobs for good; each keeps its best epoch."""
        self.state = State.model_validate(self._transport.json("POST", f"{self._path}/cancel"))
        return self

    def results(self) -> list[SweepResult]:
        """A row a job, the best first; those without a value come last."""
        return list(map(SweepResult.model_validate, self._transport.pages(f"{self._path}/results", {"limit": PAGE})))

    def summary(self) -> list[SweepPoint]:
        """A row a point, the best mean first: mean and deviation over its seeds, or over its folds."""
        return list(map(SweepPoint.model_validate, self._transport.pages(f"{self._path}/summary", {"limit": PAGE})))

    def best(self) -> Job:
        """The best job of those that `state` knows of; raises LookupError while none has a value."""
        if self.state.best is None:
            raise LookupError(f"{self!r} has no best job")
        state = self._transport.json("GET", f"/v1/jobs/{self.state.best.job}")
        return Job(self._transport, JobState.model_validate(state))
