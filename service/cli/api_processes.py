"""API processes: one alone, or several that share a port."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import typer

from service.cli.open_files import backlog_within, connections_within, raise_limit
from service.domain.access import key_id_of
from service.errors import Misconfigured
from service.settings import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.api.connections.server import Server
    from service.api.processes.parent_link import ParentLink, ProcessPlace
    from service.settings import Settings
    from service.store.engine import Database

log = logging.getLogger(__name__)

DRAIN_SECONDS = 25  # for requests in flight at shutdown; less than the grace period of most process managers
SERVE_DRAIN_SECONDS = 5  # the same for `serve`, which a person stops
MIN_KEY_LENGTH = 16  # of the operator's key on a public address, where it can be guessed


def run_several(settings: Settings, processes: int) -> int:
    """Run so many API processes on one port until a signal stops them; returns the exit code."""
    from service.api.processes.parent import ApiProcesses, command_of, listen

    try:
        listening = listen(settings.host, settings.port, backlog_within(raise_limit()))
    except OSError as error:
        raise Misconfigured(f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}") from None
    port = int(listening.getsockname()[1])
    typer.echo(_greeting(settings.host, port))

    async def run() -> int:
        return await ApiProcesses(command_of(settings.host, port), listening, processes).run()

    with listening:
        return asyncio.run(run())


def run_one(settings: Settings, process: str) -> None:
    """Run one of several API processes; `process` is what its parent says of it."""
    from service.api.processes.parent_link import ParentLink, ProcessPlace

    listening, link, number, processes = map(int, process.split(","))
    place = ProcessPlace(number, processes)
    _run(settings, SharedPort(socket.socket(fileno=listening), ParentLink(socket.socket(fileno=link), place), place))


def run_alone(settings: Settings, on_start: Callable[[], None] | None = None) -> None:
    """Serve the API until a signal stops it; `on_start`, of `serve`, is called just before."""
    _run(settings, None, on_start)


@dataclass(frozen=True)
class SharedPort:
    """What an API process shares with others."""

    listening: socket.socket
    link: ParentLink
    place: ProcessPlace


def _run(settings: Settings, shared: SharedPort | None, on_start: Callable[[], None] | None = None) -> None:
    gc.disable()  # hardly anything of what is imported is garbage
    from service.api.app import create_app
    from service.artifacts import ArtifactsConfig, open_artifacts
    from service.cli.startup import COLLECTOR_STOP_SECONDS, open_database, start_collecting
    from service.maintenance.deployment_id import pair
    from service.serving.helper_pool import helper_count
    from service.serving.predictor import Predictor

    gc.enable()
    of = 1 if shared is None else shared.place.processes
    database, artifacts = open_database(settings), open_artifacts(ArtifactsConfig.of(settings))
    pair(database, artifacts)
    predictor = Predictor(settings.max_model_bytes // of, max(1, helper_count() // of))
    _check_api_keys(settings, database)
    is_first = shared is None or shared.place.number == 0
    if is_first:
        _log_warnings(settings)
    port = settings.port or free_port(settings.host)
    app = create_app(settings, database, artifacts, predictor, None if shared is None else shared.link)
    server = _server(settings, app, port, shared, drain_seconds=DRAIN_SECONDS if on_start is None else 0)
    # uvicorn raises the signal again after its shutdown: exit by an exception, so that `finally` runs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stop = threading.Event()
    collecting = start_collecting(settings, database, stop) if is_first else None
    if on_start is not None:
        on_start()
    predictor.start()
    gc.freeze()  # routes and models, which stay: not to be scanned again and again
    if shared is None:
        typer.echo(_greeting(settings.host, port))
    else:
        shared.link.on_end = lambda: setattr(server, "should_exit", True)
    try:
        server.run(None if shared is None else [shared.listening])
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        stop.set()
        predictor.close()
        if collecting is not None:
            collecting.join(COLLECTOR_STOP_SECONDS)
        database.close()


def _server(settings: Settings, app: Any, port: int, shared: SharedPort | None, *, drain_seconds: int) -> Server:
    """The server of an application; `drain_seconds`: for requests in progress at shutdown; 0: as a person waits."""
    from service.api.connections.server import Server

    files = raise_limit()
    return Server(
        app,
        host=settings.host,
        port=port,
        log_config=None,
        access_log=False,  # the middleware logs more
        timeout_graceful_shutdown=drain_seconds or SERVE_DRAIN_SECONDS,
        last_requests=drain_seconds > 0,
        connections=min(settings.max_connections or connections_within(files), connections_within(files)),
        # asyncio accepts as many connections at once; a process takes one at a time, so that others get theirs.
        backlog=backlog_within(files) if shared is None else 1,
    )


def _greeting(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"bestepoch {installed_version('bestepoch')} at http://{shown}:{port} (documentation at /docs)"


def _log_warnings(settings: Settings) -> None:
    from service.cli.startup import warn_of_exposed_files
    from service.data.processes.confinement import landlock_version

    warn_of_exposed_files(settings)
    if not landlock_version():
        log.info("Landlock is not available: uploads are read by a child process with limits that can open files")


def _check_api_keys(settings: Settings, database: Database) -> None:
    from service.store import keys

    if settings.api_key and key_id_of(settings.api_key.get_secret_value()):
        # Clients read the same variable: exported for them, it would turn a tenant's key into the operator's.
        what = "BESTEPOCH_API_KEY contains a key that was created with `bestepoch keys create`"
        raise Misconfigured(f"{what}: for the server it would be the admin key of tenant `default`; unset it")
    length = len(settings.api_key.get_secret_value()) if settings.api_key else MIN_KEY_LENGTH
    if length < MIN_KEY_LENGTH and not settings.is_loopback:
        what = f"BESTEPOCH_API_KEY has {length} characters, and {settings.host} is a public address"
        raise Misconfigured(f"{what}: use {MIN_KEY_LENGTH} or more, e.g. from `openssl rand -hex 24`")
    with database.reading() as connection:
        if not (settings.is_loopback or settings.api_key or keys.any_exist(connection)):
            how = "create an API key with `bestepoch keys create`, or set BESTEPOCH_API_KEY"
            raise Misconfigured(f"{settings.host} is a public address: {how}")
