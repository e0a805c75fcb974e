"""The processes of serve and worker: builds and wires their components."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from service.artifacts import ArtifactsConfig, open_artifacts
from service.cli.api_processes import run_alone
from service.cli.open_files import raise_limit
from service.cli.startup import COLLECTOR_STOP_SECONDS, open_database, start_collecting, warn_of_exposed_files
from service.maintenance.deployment_id import pair
from service.store.engine import migrate

if TYPE_CHECKING:
    from service.settings import Settings

log = logging.getLogger(__name__)

WORKER_STOP_SECONDS = 25


def run_both(settings: Settings) -> None:
    """Run the API with a worker as its child process."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    worker = WorkerProcess()
    try:
        run_alone(settings, worker.start)
    finally:
        worker.stop()


def run_worker(settings: Settings, *, until_eof: bool) -> None:
    """Run a worker until a signal stops it or, with `until_eof`, standard input closes."""
    from service.worker.supervisor import Supervisor

    raise_limit()
    database = open_database(settings)
    pair(database, open_artifacts(ArtifactsConfig.of(settings)))
    if not until_eof:  # otherwise `serve` has warned already
        warn_of_exposed_files(settings)
    stop = threading.Event()

    def on_signal(number: int, _frame: Any) -> None:
        if stop.is_set():
            sys.exit(128 + number)  # the second signal: exit immediately
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if until_eof:
        threading.Thread(target=_stop_at_eof, args=(stop,), daemon=True).start()
    collecting = start_collecting(settings, database, stop)
    Supervisor(settings, database).run(stop)
    collecting.join(COLLECTOR_STOP_SECONDS)
    database.close()


class WorkerProcess:
    """`bestepoch worker` as a child process in its own session, restarted when it dies.

    It stops when this process ends, however it ends: its standard input closes.
    """

    def __init__(self) -> None:
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
            self._monitor.join(WORKER_STOP_SECONDS)
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
