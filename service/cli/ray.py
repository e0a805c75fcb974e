"""`bestepoch ray`: workers on the machines of a Ray cluster."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import CommandError
from service.errors import StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.cluster.ray_actors import RayWorkers
    from service.cluster.scaling import ActorState
    from service.settings import Settings
    from service.store.demand import Pool
    from service.store.engine import Database

log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, help="Run workers on a Ray cluster.")

Name = Annotated[str, typer.Option("--name", help="Name of this pool of workers; other pools have other names.")]
Address = Annotated[str, typer.Option(help="The cluster: HOST:PORT of its head, or auto for the one of this machine.")]
INTERVAL_SECONDS = 2.0


@app.command()
def up(
    address: Address = "auto",
    name: Name = "worker",
    gpus_per_actor: Annotated[float, typer.Option(min=0.0, help="GPUs of a worker.")] = 0.0,
    cpus_per_actor: Annotated[float, typer.Option(min=0.0, help="CPUs of a worker.")] = 1.0,
    minimum: Annotated[int, typer.Option("--min", min=0, help="Workers without demand.")] = 0,
    maximum: Annotated[int, typer.Option("--max", min=1, help="Workers at most.")] = 1,
    actors: Annotated[int | None, typer.Option(min=1, help="A fixed number of workers, in place of both.")] = None,
    patience: Annotated[float, typer.Option(min=0.0, help="Seconds of less demand until workers stop.")] = 30.0,
    labels: Annotated[str | None, typer.Option(help="Labels of the workers, e.g. gpu=h100.")] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Start none for jobs that a CPU worker without labels can train.")
    ] = False,
) -> None:
    """Keep as many workers on the cluster as there is demand, until this command is stopped; the workers stay then.

    The cluster's machines need bestepoch, and the same settings in their environment as other workers. A worker is an
    actor; Ray starts it again on another machine when its own one dies, and adds machines for actors without room.
    """
    least, most = (actors, actors) if actors is not None else (minimum, maximum)
    if least > most:
        raise typer.BadParameter(f"{least} is more than --max {most}", param_hint="--min")
    from service.cli.startup import database_of, read_settings
    from service.cluster.scaling import Scaling
    from service.spec.worker import parse_labels
    from service.store.demand import Pool

    settings, stop = read_settings(worker_labels=labels), threading.Event()
    pool = Pool("cuda" if gpus_per_actor else "cpu", parse_labels(settings.worker_labels), exclusive)
    environment = {"BESTEPOCH_WORKER_LABELS": settings.worker_labels}
    workers = _connect(address, name, gpus_per_actor, cpus_per_actor, environment)
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray has set its own handlers
        signal.signal(number, lambda *_: stop.set())
    scaling = Scaling(least, most, workers.trainers, patience)
    seen: dict[str, str] = {}
    with database_of(settings) as database:
        while not stop.is_set():
            states = workers.states()
            _report(seen, states)
            try:
                trainers, occupied = _read(database, settings, pool)
            except (Unavailable, StorageError) as error:
                log.warning("the workers stay as they are until the database answers: %s", error)
            else:
                _scale(workers, states, scaling.wanted(trainers), occupied)
            stop.wait(INTERVAL_SECONDS)
    workers.close()


@app.command()
def down(address: Address = "auto", name: Name = "worker") -> None:
    """Stop all workers of a pool, after they have requeued their jobs."""
    workers, stop = _connect(address, name), threading.Event()
    seen: dict[str, str] = {}
    while states := workers.states():
        _report(seen, states)
        _scale(workers, states, 0, {})
        stop.wait(INTERVAL_SECONDS / 4)
    _report(seen, [])
    workers.close()


def _connect(address: str, *options: Any) -> RayWorkers:
    from service.cluster.ray_actors import RayWorkers

    try:
        return RayWorkers(address, *options)
    except ConnectionError as error:
        raise CommandError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error


def _read(database: Database, settings: Settings, pool: Pool) -> tuple[int, dict[tuple[str, int], bool]]:
    """The trainers of such workers that would be busy if there were enough, and the workers that are: see `occupied`.

    Raises Unavailable or StorageError.
    """
    from service.store import demand
    from service.store import workers as registry

    with database.reading() as connection:
        found = demand.read(connection, pool, width=settings.array_width, max_running=settings.max_running_jobs)
        return found.trainers, registry.occupied(connection)


def _scale(
    workers: RayWorkers, states: list[ActorState], wanted: int, occupied: Mapping[tuple[str, int], bool]
) -> None:
    """Start or stop actors until there are as many as wanted."""
    from service.cluster.scaling import steps_down

    names = {state.name for state in states}
    for _ in range(wanted - sum(not state.stopping for state in states)):
        names.add(workers.start(names))
    for step, name in steps_down(states, wanted, occupied):
        (workers.stop if step == "stop" else workers.remove)(name)


def _report(seen: dict[str, str], states: list[ActorState]) -> None:
    """Print what has changed."""
    now = {state.name: f"{state}" for state in states}
    for name in sorted(seen.keys() | now.keys()):
        if seen.get(name) != now.get(name):
            typer.echo(f"{name}: {now.get(name, 'stopped')}")
    seen.clear()
    seen.update(now)
