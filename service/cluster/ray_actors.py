"""Workers as actors of a Ray cluster: each runs `bestepoch worker` as a child process, and passes no objects.

The actors are detached: they outlive the process that starts them, and Ray starts them again when their node dies. They
take the settings from the environment of their node, so that no secret is in Ray's state.
"""

from __future__ import annotations

import logging
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util import list_named_actors

from service.cluster.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

log = logging.getLogger(__name__)

NAMESPACE = "bestepoch"
NO_SETTINGS: Mapping[str, str] = {}
STATUS_SECONDS = 5.0  # without an answer, an actor is pending: its node starts, or has died
STOP_SECONDS = 60.0  # until a drained worker is killed; its notice is a setting


class WorkerActor:
    """Runs a worker while it lives."""

    def __init__(self) -> None:
        self._worker = WorkerProcess(STOP_SECONDS)
        self._stopped = False
        self._worker.start()

    def status(self) -> tuple[str, int, int, bool]:
        """Host name, the worker's process id (0: none), how often it was started, and whether it was stopped."""
        return socket.gethostname(), self._worker.pid or 0, self._worker.starts, self._stopped

    def stop(self) -> None:
        """Stop the worker, after it has requeued its jobs."""
        self._worker.stop()
        self._stopped = True


@dataclass(frozen=True)
class ActorState:
    """An actor as it answered last."""

    name: str
    hostname: str = ""
    pid: int = 0
    """The worker's process id; 0: it does not run."""
    starts: int = 0
    stopped: bool = False

    @property
    def running(self) -> bool:
        """Whether its worker runs."""
        return self.pid > 0 and not self.stopped


class RayWorkers:
    """The workers of a cluster."""

    def __init__(
        self,
        address: str,
        pool: str,
        gpus: float = 0.0,
        cpus: float = 1.0,
        environment: Mapping[str, str] = NO_SETTINGS,
    ) -> None:
        """Connect to the cluster. `pool`: the actors are called POOL-NUMBER. `gpus`, `cpus`: of each actor; without
        GPUs one trainer for each CPU. `environment`: settings that differ from those of the nodes.

        Raises ConnectionError if there is no cluster at `address`.
        """
        self._pool = pool
        ray.init(address=address, namespace=NAMESPACE, logging_level=logging.WARNING, log_to_driver=False)
        self._resources = {"num_gpus": gpus, "num_cpus": cpus}
        self.trainers = max(1, int(gpus or cpus))
        # Trainers do not count devices themselves: Ray says which of the node's are the actor's.
        self._environment = {
            **environment,
            "BESTEPOCH_DEVICE": "cuda" if gpus else "cpu",
            "BESTEPOCH_TRAINERS": str(self.trainers),
            "BESTEPOCH_TRAINER_THREADS": str(max(1, int(cpus))),
        }
        self._stopping: dict[str, Any] = {}

    def states(self) -> list[ActorState]:
        """All actors, in the order of their names; those that have stopped are removed."""
        own = re.compile(re.escape(self._pool) + r"-\d+")
        names = sorted(name for name in list_named_actors() if own.fullmatch(name))
        asked = {name: actor.status.remote() for name in names if (actor := _find(name)) is not None}
        if asked:
            ray.wait(list(asked.values()), num_returns=len(asked), timeout=STATUS_SECONDS)
        found = []
        for name, answer in asked.items():
            state = _state(name, answer)
            if state.stopped:
                self._remove(name)
            else:
                found.append(state)
        return found

    def start(self, taken: Collection[str]) -> str:
        """Start an actor; Ray places it, and asks its autoscaler for a node if none has room."""
        names = (f"{self._pool}-{number}" for number in range(len(taken) + 1))
        name = next(name for name in names if name not in taken)
        options = {"name": name, "lifetime": "detached", "max_restarts": -1, "max_concurrency": 2}
        settings = {"env_vars": self._environment}
        ray.remote(WorkerActor).options(**options, **self._resources, runtime_env=settings).remote()
        return name

    def stop(self, name: str) -> None:
        """Drain the actor's worker; `states` removes the actor when it has stopped."""
        actor = _find(name)
        if actor is not None and name not in self._stopping:
            self._stopping[name] = actor.stop.remote()

    def is_stopping(self, name: str) -> bool:
        """Whether it was asked to stop."""
        return name in self._stopping

    def remove_pending(self, name: str) -> None:
        """Remove an actor whose worker does not run."""
        self._remove(name)

    def close(self) -> None:
        """Disconnect; the actors stay."""
        ray.shutdown()

    def _remove(self, name: str) -> None:
        self._stopping.pop(name, None)
        actor = _find(name)
        if actor is not None:
            ray.kill(actor, no_restart=True)


def _find(name: str) -> Any | None:
    try:
        return ray.get_actor(name)
    except ValueError:
        return None


def _state(name: str, answer: Any) -> ActorState:
    try:
        return ActorState(name, *ray.get(answer, timeout=0))
    except GetTimeoutError:
        return ActorState(name)
    except RayError as error:
        log.debug("%s does not answer: %s", name, error)
        return ActorState(name)
