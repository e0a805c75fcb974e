"""What serve, api and worker run: all parts are built and wired here."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import typer

from service.access import id_in
from service.artifacts import Artifacts
from service.cli.open_files import backlog_within, connections_within, raise_limit
from service.cli.permissions import exposed
from service.cli.startup import keeping, open_database
from service.collector import Collector
from service.data.confine import landlock_version
from service.deployment import join
from service.errors import Misconfigured
from service.settings import free_port
from service.store import keys
from service.store.engine import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.settings import Settings
    from service.store.engine import Database

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5  # for requests in flight when the API stops
WORKER_STOP_SECONDS = 25
COLLECTOR_STOP_SECONDS = 5
MIN_KEY = 16  # characters of an operator's key where others can try to guess it


def run_both(settings: Settings) -> None:
    """The API, with a worker as its child."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    worker = WorkerProcess()
    try:
        run_api(settings, worker.start)
    finally:
        worker.stop()


def run_api(settings: Settings, on_start: Callable[[], None] = lambda: None) -> None:
    """Answer requests until a signal stops it; `on_start` is called when it is about to."""
    from service.api.app import create_app
    from service.api.server import Server
    from service.predictor import Predictor

    database, artifacts = open_database(settings), Artifacts(settings.artifacts)
    join(database, artifacts)
    predictor = Predictor(settings.max_model_bytes)
    _check_guarded(settings, database)
    _say_exposed(settings)
    if not landlock_version():
        log.info("no Landlock on this machine: uploads are read within limits, but by a process that may open files")
    files = raise_limit()
    port = settings.port or free_port(settings.host)
    server = Server(
        create_app(settings, database, artifacts, predictor),
        host=settings.host,
        port=port,
        log_config=None,
        access_log=False,  # ours says more
        timeout_graceful_shutdown=DRAIN_SECONDS,
        connections=min(settings.max_connections or connections_within(files), connections_within(files)),
        backlog=backlog_within(files),
    )
    # uvicorn raises the signal that stopped it once more when it is done: leave by an exception, so that we clean up
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stop = threading.Event()
    collecting = _start_collecting(settings, database, stop)
    on_start()
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
    """Train until a signal stops it or, if told so, standard input closes."""
    from service.worker.supervisor import Supervisor

    raise_limit()
    database = open_database(settings)
    join(database, Artifacts(settings.artifacts))
    if not until_eof:  # else `serve` has said so
        _say_exposed(settings)
    stop = threading.Event()

    def on_signal(number: int, _frame: Any) -> None:
        if stop.is_set():
            sys.exit(128 + number)  # asked twice: at once
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
    """`bestepoch worker` as a child in a session of its own, started again should it die.

    It ends with us, however we end: its standard input closes.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start it, and keep it running."""
        self._keeper.start()

    def stop(self) -> None:
        """Ask it to stop and wait until it has given its jobs back."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        if self._keeper.is_alive():
            self._keeper.join(WORKER_STOP_SECONDS)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _keep(self) -> None:
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


def _check_guarded(settings: Settings, database: Database) -> None:
    if settings.api_key and id_in(settings.api_key.get_secret_value()):
        # Clients read the same variable: a shell that has it for them would make a tenant's key an operator's.
        what = "BESTEPOCH_API_KEY holds a key that was made with `bestepoch keys create`"
        raise Misconfigured(f"{what}: here it would be an admin's of the tenant default; start without it")
    length = len(settings.api_key.get_secret_value()) if settings.api_key else MIN_KEY
    if length < MIN_KEY and not settings.is_loopback:
        what = f"BESTEPOCH_API_KEY has {length} characters, and the address {settings.host} is open to others"
        raise Misconfigured(f"{what}: it takes {MIN_KEY} or more, as of `openssl rand -hex 24`")
    with database.reading() as connection:
        if not (settings.is_loopback or settings.api_key or keys.exist(connection)):
            how = "make a key with `bestepoch keys create`, or set BESTEPOCH_API_KEY"
            raise Misconfigured(f"the address {settings.host} is open to others: {how}")


def _say_exposed(settings: Settings) -> None:
    for sentence in exposed(settings):
        log.warning("%s", sentence)


def _start_collecting(settings: Settings, database: Database, stop: threading.Event) -> threading.Thread:
    """API and workers all do it, each time the one who comes first."""
    collector = Collector(database, Artifacts(settings.artifacts), keeping(settings))
    thread = threading.Thread(target=collector.run, args=(stop,), name="collector", daemon=True)
    thread.start()
    return thread
