"""Workers as actors of a Ray cluster: each runs `bestepoch worker` as a child process, and passes no objects.

The actors are detached: they outlive the process that starts them, and Ray starts them again when their node dies. They
take the settings from the environment of their node, so that no secret is in Ray's state.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util import list_named_actors

from service.cluster.scaling import ActorState
from service.cluster.worker_process import WorkerProcess
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

log = logging.getLogger(__name__)

NAMESPACE = "bestepoch"
NO_SETTINGS: Mapping[str, str] = {}
STATUS_SECONDS = 5.0  # for answers; an actor without one is pending, or its machine has died or is overloaded


class WorkerActor:
    """Runs a worker while it lives. Its methods return at once."""

    def __init__(self) -> None:
        self._worker = WorkerProcess(Settings().drain_seconds)
        self._stopper: threading.Thread | None = None
        self._worker.start()

    def status(self) -> tuple[str, int, int, bool, bool]:
        """Fields of `ActorState`: host name, process id, number of starts, whether it stops, and has stopped."""
        stopping = self._stopper is not None
        stopped = self._stopper is not None and not self._stopper.is_alive()
        return socket.gethostname(), self._worker.pid or 0, self._worker.starts, stopping, stopped

    def stop(self) -> None:
        """Stop the worker, after it has requeued its jobs: within its notice, then it is killed."""
        if self._stopper is None:
            self._stopper = threading.Thread(target=self._worker.stop)
            self._stopper.start()


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
        self._known: dict[str, ActorState] = {}
        self._asked: dict[str, Any] = {}

    def states(self) -> list[ActorState]:
        """All actors, in the order of their names: as they answer within some seconds, else as they answered last."""
        own = re.compile(re.escape(self._pool) + r"-\d+")
        names = sorted(name for name in list_named_actors() if own.fullmatch(name))
        self._asked = {name: asked for name in names if (asked := self._asked.get(name) or _ask(name)) is not None}
        self._known = {name: self._known.get(name) or ActorState(name) for name in names}
        if self._asked:
            ray.wait(list(self._asked.values()), num_returns=len(self._asked), timeout=STATUS_SECONDS)
        for name in names:
            self._known[name] = self._answer_of(name) or replace(self._known[name], answered=False)
        return list(self._known.values())

    def _answer_of(self, name: str) -> ActorState | None:
        """Its answer; None: it still has to answer, or has died."""
        try:
            answer = ray.get(self._asked[name], timeout=0) if name in self._asked else None
        except GetTimeoutError:
            return None
        except RayError as error:
            log.debug("%s does not answer: %s", name, error)
            answer = None
        self._asked.pop(name, None)
        if answer is None:
            return None
        hostname, pid, starts, stopping, stopped = answer
        return ActorState(name, hostname, pid, starts, stopping, stopped, answered=True)

    def start(self, taken: Collection[str]) -> str:
        """Start an actor; Ray places it, and asks its autoscaler for a node if none has room."""
        names = (f"{self._pool}-{number}" for number in range(len(taken) + 1))
        name = next(name for name in names if name not in taken)
        options = {"name": name, "lifetime": "detached", "max_restarts": -1}
        settings = {"env_vars": self._environment}
        ray.remote(WorkerActor).options(**options, **self._resources, runtime_env=settings).remote()
        return name

    def stop(self, name: str) -> None:
        """Drain the actor's worker, as soon as the actor can be reached."""
        actor = _find(name)
        if actor is not None:
            actor.stop.remote()
            self._known[name] = replace(self._known[name], stopping=True)

    def remove(self, name: str) -> None:
        """Remove an actor whose worker has stopped or does not run."""
        actor = _find(name)
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Disconnect; the actors stay."""
        ray.shutdown()


def _find(name: str) -> Any | None:
    try:
        return ray.get_actor(name)
    except ValueError:
        return None


def _ask(name: str) -> Any | None:
    actor = _find(name)
    return None if actor is None else actor.status.remote()
