"""`bestepoch worker` as a child process."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

log = logging.getLogger(__name__)


class WorkerProcess:
    """`bestepoch worker` as a child process in its own session, restarted when it dies.

    It stops when this process ends, however it ends: its standard input closes.
    """

    def __init__(self, stop_seconds: float) -> None:
        """`stop_seconds`: how long to wait for it to stop."""
        self._stop_seconds = stop_seconds
        self.starts = 0
        self._stopping = threading.Event()
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
            self.starts += 1
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            code = self._process.wait()
            if not self._stopping.is_set():
                log.error("the worker ended with exit code %s; starting another", code)
                self._stopping.wait(1.0)
