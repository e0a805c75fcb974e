"""How many workers a cluster should have: as many as there is demand, at once; fewer only after a while."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SILENT_SECONDS = 60.0  # an actor that is not needed, and whose worker sends no heartbeats, is removed after so long


class Scaling:
    """The wanted number of workers, between bounds."""

    def __init__(self, least: int, most: int, trainers: int, patience: float) -> None:
        """`trainers`: of each worker. `patience`: seconds of lower demand until there are fewer workers."""
        self._least, self._most, self._trainers, self._patience = least, most, trainers, patience
        self._wanted = least
        self._high_at = time.monotonic()

    def wanted(self, trainers: int) -> int:
        """The number of workers for so many trainers that would be busy."""
        needed = min(max(-(-trainers // self._trainers), self._least), self._most)
        now = time.monotonic()
        if needed >= self._wanted:
            self._high_at = now
            self._wanted = needed
        elif now - self._high_at >= self._patience:
            self._wanted = needed
        return self._wanted


@dataclass(frozen=True)
class ActorState:
    """An actor as it answered last."""

    name: str
    hostname: str = ""
    pid: int = 0
    """The worker's process id; 0: it does not run."""
    starts: int = 0
    """How often the worker was started; 0: the actor has never answered."""
    stopping: bool = False
    stopped: bool = False
    answered: bool = False
    """Whether it has just answered."""
    heard_at: float = field(default_factory=time.monotonic)
    """When it answered last, or was first seen."""

    @property
    def worker(self) -> tuple[str, int]:
        """Host name and process id of its worker."""
        return self.hostname, self.pid

    def __str__(self) -> str:
        if not self.starts:
            return "pending"
        if not self.answered:
            return "does not answer"
        runs = f"runs on {self.hostname}, process {self.pid}" if self.pid else "its worker starts"
        return "stopping" if self.stopping else runs


Step = tuple[Literal["stop", "remove"], str]


def steps_down(states: Sequence[ActorState], wanted: int, occupied: Mapping[tuple[str, int], bool]) -> list[Step]:
    """What to do with the actors that are not needed, which are pending, then idle ones; and with those that stop.

    `occupied`: the workers with heartbeats, and whether each is busy. An actor that does not answer may be on an
    overloaded machine, and its worker may train: it is removed after a while, if its worker sends no heartbeats either.
    """
    kept = sorted(
        (state for state in states if not state.stopping),
        key=lambda state: (occupied.get(state.worker, False), state.worker in occupied, state.pid > 0, state.starts),
    )
    steps: list[Step] = []
    superfluous = kept[: max(len(kept) - wanted, 0)]
    for state in [*superfluous, *(state for state in states if state.stopping)]:
        silent = not state.answered and time.monotonic() - state.heard_at >= SILENT_SECONDS
        if state.stopped or (silent and state.worker not in occupied):
            steps.append(("remove", state.name))
        elif state.starts and not state.stopping:
            steps.append(("stop", state.name))
    return steps
