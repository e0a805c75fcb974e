"""`bestepoch ray`: workers on the machines of a Ray cluster."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import CommandError

if TYPE_CHECKING:
    from service.cluster.ray_actors import ActorState, RayWorkers
    from service.settings import Settings
    from service.store.demand import Pool
    from service.store.engine import Database

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
    seen: dict[str, ActorState] = {}
    with database_of(settings) as database:
        while not stop.is_set():
            states = workers.states()
            _report(seen, states)
            _reconcile(workers, states, scaling.wanted(_arrays(database, settings, pool)), database)
            stop.wait(INTERVAL_SECONDS)
    workers.close()


@app.command()
def down(address: Address = "auto", name: Name = "worker") -> None:
    """Stop all workers of a pool, after they have requeued their jobs."""
    workers, stop = _connect(address, name), threading.Event()
    while states := workers.states():
        for state in states:
            if state.running:
                workers.stop(state.name)
            else:
                workers.remove_pending(state.name)
        stop.wait(INTERVAL_SECONDS / 4)
    workers.close()


def _connect(address: str, *options: Any) -> RayWorkers:
    from service.cluster.ray_actors import RayWorkers

    try:
        return RayWorkers(address, *options)
    except ConnectionError as error:
        raise CommandError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error


def _arrays(database: Database, settings: Settings, pool: Pool) -> int:
    """Trainers of such workers that would be busy if there were enough."""
    from service.store import demand

    with database.reading() as connection:
        found = demand.read(connection, pool, width=settings.array_width, max_running=settings.max_running_jobs)
    return found.trainers


def _reconcile(workers: RayWorkers, states: list[ActorState], wanted: int, database: Database) -> None:
    """Start or stop actors until there are as many as wanted: idle ones stop first."""
    names = {state.name for state in states}
    kept = [state for state in states if not workers.is_stopping(state.name)]
    for _ in range(wanted - len(kept)):
        names.add(workers.start(names))
    if len(kept) > wanted:
        busy = _busy(database)
        kept.sort(key=lambda state: ((state.hostname, state.pid) in busy, state.running))
        for state in kept[: len(kept) - wanted]:
            if state.running:
                workers.stop(state.name)
            else:
                workers.remove_pending(state.name)


def _busy(database: Database) -> set[tuple[str, int]]:
    """Host name and process id of the workers that train jobs."""
    from service.store import workers as registry

    with database.reading() as connection:
        return {(worker.hostname, worker.pid) for worker in registry.find(connection) if worker.jobs}


def _report(seen: dict[str, ActorState], states: list[ActorState]) -> None:
    """Print what has changed."""
    now = {state.name: state for state in states}
    for name in sorted(seen.keys() | now.keys()):
        before, after = seen.get(name), now.get(name)
        if after is None:
            typer.echo(f"{name}: stopped")
        elif before is None or (before.pid, before.running) != (after.pid, after.running):
            typer.echo(f"{name}: " + (f"runs on {after.hostname}, process {after.pid}" if after.running else "pending"))
    seen.clear()
    seen.update(now)
