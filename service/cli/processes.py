"""The processes of serve and worker: builds and wires their components."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from service.artifacts import ArtifactsConfig, open_artifacts
from service.cli.api_processes import run_alone
from service.cli.open_files import raise_limit
from service.cli.startup import COLLECTOR_STOP_SECONDS, open_database, start_collecting, warn_of_exposed_files
from service.cluster.worker_process import WorkerProcess
from service.maintenance.deployment_id import pair
from service.store.engine import migrate

if TYPE_CHECKING:
    from service.settings import Settings

log = logging.getLogger(__name__)


def run_both(settings: Settings) -> None:
    """Run the API with a worker as its child process."""
    if settings.database.startswith("sqlite:"):
        migrate(settings.database)
    worker = WorkerProcess(settings.drain_seconds)
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
    collecting = start_collecting(settings, database, stop)
    Supervisor(settings, database).run(stop)
    collecting.join(COLLECTOR_STOP_SECONDS)
    database.close()


def _stop_at_eof(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()
