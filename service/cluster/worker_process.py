"""`bestepoch worker` as a child process."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

log = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0  # of a worker that stops, beyond its notice: it requeues its jobs


class WorkerProcess:
    """`bestepoch worker` as a child process in its own session, restarted when it dies.

    It stops when this process ends, however it ends: its standard input closes.
    """

    def __init__(self, drain_seconds: float) -> None:
        """`drain_seconds`: from the signal until its jobs must be saved; some seconds later it is killed."""
        self._stop_seconds = drain_seconds + MARGIN_SECONDS
        self.starts = 0
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor = threading.Thread(target=self._restart, daemon=True)

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the worker and restart it when it dies."""
        self._monitor.start()

    def stop(self) -> None:
        """Stop the worker and wait until it has requeued its jobs."""
        with self._starting:
            self._stopping.set()
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        if self._monitor.is_alive():
            self._monitor.join(self._stop_seconds)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _restart(self) -> None:
        command = [sys.executable, "-P", "-m", "service.cli", "worker", "--until-eof"]
        while True:
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            self.starts += 1
            code = self._process.wait()
            if not self._stopping.is_set():
                log.error("the worker ended with exit code %s; starting another", code)
                self._stopping.wait(1.0)
