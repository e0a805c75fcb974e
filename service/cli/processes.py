"""The processes of serve, api and worker: builds and wires all components."""

from __future__ import annotations

import gc
import logging
import signal
import subprocess
import sys
import threading
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import typer

from service.artifacts import Artifacts
from service.cli.open_files import backlog_within, connections_within, raise_limit
from service.cli.permissions import exposed
from service.cli.startup import keeping, open_database
from service.data.processes.confinement import landlock_version
from service.domain.access import key_id_of
from service.errors import Misconfigured
from service.maintenance.collector import Collector
from service.maintenance.deployment_id import pair
from service.settings import free_port
from service.store import keys
from service.store.engine import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.settings import Settings
    from service.store.engine import Database

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5  # for requests in flight at shutdown
STOP_MARGIN_SECONDS = 5  # of a worker, beyond its notice
COLLECTOR_STOP_SECONDS = 5
MIN_KEY_LENGTH = 16  # of the operator's key on a public address, where it can be guessed


def run_both(settings: Settings) -> None:
    """Run the API with a worker as its child process."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    worker = WorkerProcess(settings.drain_seconds + STOP_MARGIN_SECONDS)
    try:
        run_api(settings, worker.start)
    finally:
        worker.stop()


def run_api(settings: Settings, on_start: Callable[[], None] = lambda: None) -> None:
    """Serve the API until a signal stops it; `on_start` is called just before."""
    from service.api.app import create_app
    from service.api.connections.server import Server
    from service.serving.helper_pool import helper_count
    from service.serving.predictor import Predictor

    database, artifacts = open_database(settings), Artifacts(settings.artifacts)
    pair(database, artifacts)
    predictor = Predictor(settings.max_model_bytes, helper_count())
    _check_api_keys(settings, database)
    _warn_of_exposed_files(settings)
    if not landlock_version():
        log.info("Landlock is not available: uploads are read by a child process with limits that can open files")
    files = raise_limit()
    port = settings.port or free_port(settings.host)
    server = Server(
        create_app(settings, database, artifacts, predictor),
        host=settings.host,
        port=port,
        log_config=None,
        access_log=False,  # the middleware logs more
        timeout_graceful_shutdown=DRAIN_SECONDS,
        connections=min(settings.max_connections or connections_within(files), connections_within(files)),
        backlog=backlog_within(files),
    )
    # uvicorn raises the signal again after its shutdown: exit by an exception, so that `finally` runs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stop = threading.Event()
    collecting = _start_collecting(settings, database, stop)
    on_start()
    predictor.start()
    gc.freeze()  # routes and models, which stay: not to be scanned again and again
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    typer.echo(f"bestepoch {installed_version('bestepoch')} at http://{host}:{port} (documentation at /docs)")
    try:
        server.run()
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        stop.set()
        predictor.close()
        collecting.join(COLLECTOR_STOP_SECONDS)
        database.close()


def run_worker(settings: Settings, *, until_eof: bool) -> None:
    """Run a worker until a signal stops it or, with `until_eof`, standard input closes."""
    from service.worker.supervisor import Supervisor

    raise_limit()
    database = open_database(settings)
    pair(database, Artifacts(settings.artifacts))
    if not until_eof:  # otherwise `serve` has warned already
        _warn_of_exposed_files(settings)
    else:  # `serve` would only start another
        settings = settings.model_copy(update={"exit_when_idle": 0.0, "max_worker_jobs": 0})
    stop = threading.Event()

    def on_signal(number: int, _frame: Any) -> None:
        if stop.is_set():
            sys.exit(128 + number)  # the second signal: exit immediately
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if until_eof:
        threading.Thread(target=_stop_at_eof, args=(stop,), daemon=True).start()
    collecting = _start_collecting(settings, database, stop)
    Supervisor(settings, database).run(stop)
    collecting.join(COLLECTOR_STOP_SECONDS)
    database.close()


class WorkerProcess:
    """`bestepoch worker` as a child process in its own session, restarted when it dies.

    It stops when this process ends, however it ends: its standard input closes.
    """

    def __init__(self, stop_seconds: float) -> None:
        """`stop_seconds`: how long to wait for it to stop."""
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor = threading.Thread(target=self._restart, daemon=True)

    def start(self) -> None:
        """Start the worker and restart it when it dies."""
        self._monitor.start()

    def stop(self) -> None:
        """Stop the worker and wait until it has requeued its jobs."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        if self._monitor.is_alive():
            self._monitor.join(self._stop_seconds)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _restart(self) -> None:
        command = [sys.executable, "-P", "-m", "service.cli", "worker", "--until-eof"]
        while not self._stopping.is_set():
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            code = self._process.wait()
            if not self._stopping.is_set():
                log.error("the worker ended with exit code %s; starting another", code)
                self._stopping.wait(1.0)


def _stop_at_eof(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _check_api_keys(settings: Settings, database: Database) -> None:
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


def _warn_of_exposed_files(settings: Settings) -> None:
    for warning in exposed(settings):
        log.warning("%s", warning)


def _start_collecting(settings: Settings, database: Database, stop: threading.Event) -> threading.Thread:
    """Start the garbage collector's thread; of all API and worker processes one collects at a time."""
    collector = Collector(database, Artifacts(settings.artifacts), keeping(settings))
    thread = threading.Thread(target=collector.run, args=(stop,), name="collector", daemon=True)
    thread.start()
    return thread
