"""A sweep: wait for its jobs, rank them, take the best one or the model that it publishes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from service.client import progress_bar
from service.client.job import Job
from service.client.model import Model
from service.domain.importance import SweepImportance
from service.domain.job import Job as JobState
from service.domain.model import Model as ModelState
from service.domain.status import Status
from service.domain.sweep import Decision, SweepPoint, SweepResult, SweepStatus
from service.domain.sweep import Sweep as State
from service.domain.sweep_replay import SweepReplay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from service.client.transport import Transport

POLL_SECONDS = 0.5  # between updates of `each`
PAGE_ROWS = 1_000


class Sweep:
    """A sweep; `state` is its last known state, updated by `refresh()` and `wait()`."""

    def __init__(self, transport: Transport, state: State) -> None:
        self._transport, self.state = transport, state
        self._path = f"/v1/sweeps/{state.id}"

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.state.counts.items() if count)
        best = self.state.best
        summary = "" if best is None else f", best {best.monitor} {best.value:.4g} of {best.job}"
        return f"<Sweep {self.id}: {self.state.status}, {counts or 'no jobs'}{summary}>"

    @property
    def id(self) -> str:
        """The sweep's id."""
        return self.state.id

    def refresh(self, wait: float = 0.0) -> Sweep:
        """Update `state`; with `wait`, once the sweep has ended or after that many seconds (60 at most)."""
        options = {"params": {"wait": wait}, "timeout": wait + 30.0} if wait else {}
        self.state = State.model_validate(self._transport.json("GET", self._path, **options))
        return self

    def wait(
        self, seconds: float | None = None, each: Callable[[State], None] | None = None, *, progress: bool = False
    ) -> Sweep:
        """Wait until all jobs have ended and the model, if any, is published; raises TimeoutError after `seconds`.

        `each` is called with every new state. `progress`: in a terminal, show a progress bar of the jobs instead of
        calling `each`.
        """
        if progress:
            with progress_bar.of_jobs(self.state.jobs) as update:
                return self.wait(seconds, update or each)
        deadline = None if seconds is None else time.monotonic() + seconds
        interval = 60.0 if each is None else POLL_SECONDS
        while self.state.status is SweepStatus.running:
            remaining = interval if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"{self!r} has not ended within {seconds:g} s")
            self.refresh(min(remaining, interval))
            if each is not None:
                each(self.state)
        return self

    def cancel(self) -> Sweep:
        """Cancel all jobs of the sweep; their best checkpoints are kept."""
        self.state = State.model_validate(self._transport.json("POST", f"{self._path}/cancel"))
        return self

    def results(self) -> list[SweepResult]:
        """A row per job, best first; jobs without a value come last."""
        rows = self._transport.pages(f"{self._path}/results", {"limit": PAGE_ROWS})
        return list(map(SweepResult.model_validate, rows))

    def summary(self) -> list[SweepPoint]:
        """A row per configuration, best mean first: mean with standard error over its seeds or folds, and in
        `versus_best` whether it can be told from the best one."""
        rows = self._transport.pages(f"{self._path}/summary", {"limit": PAGE_ROWS})
        return list(map(SweepPoint.model_validate, rows))

    def importance(self) -> SweepImportance:
        """How much each parameter matters for the value of the points; needs scikit-learn on the server."""
        return SweepImportance.model_validate(self._transport.json("GET", f"{self._path}/importance"))

    def replay(self, *rules: Mapping[str, Any]) -> SweepReplay:
        """What these rules would have cost over the recorded curves, and what they would have missed; trains nothing.

        A rule is `{"kind": "halving", "eta": 4, "min_epochs": 3}`, or as `early_stopping` of a job spec:
        `{"patience": 5}`.
        """
        found = self._transport.json("POST", f"{self._path}/replay", json={"rules": list(rules)})
        return SweepReplay.model_validate(found)

    def revive(self, replayed: SweepReplay) -> list[str]:
        """Resume the pruned jobs whose curves were too short for a replay; their ids. They train to their own ends."""
        short = {each.job: each.status for rule in replayed.data for each in rule.short}
        pruned = [job for job, status in short.items() if status is Status.pruned]
        for job in pruned:
            self._transport.json("POST", f"/v1/jobs/{job}/resume")
        return pruned

    def best(self) -> Job:
        """The best job in `state`; raises LookupError while no job has a value."""
        if self.state.best is None:
            raise LookupError(f"{self!r} has no best job")
        state = self._transport.json("GET", f"/v1/jobs/{self.state.best.job}")
        return Job(self._transport, JobState.model_validate(state))

    def decisions(self, after: int = 0) -> list[Decision]:
        """What the sweep has decided, in order, each with its reason: proposals, promotions, prunings, publication.

        `after`: only those with larger numbers.
        """
        rows = self._transport.pages(f"{self._path}/decisions", {"limit": PAGE_ROWS, "after": after})
        return list(map(Decision.model_validate, rows))

    @property
    def published(self) -> Model | None:
        """The model, at the version that the sweep has published; None before, and without `model`.

        `state.error` says why there is none after the end.
        """
        found = self.state.published
        if found is None:
            return None
        state = ModelState.model_validate(self._transport.json("GET", f"/v1/models/{found.model}"))
        return Model(self._transport, state, found.version)
