"""An API with a low limit of open files serves new clients despite idle connections, and does not flood its log."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from service.cli.open_files import backlog_within, connections_within
from service.settings import free_port
from service.store.engine import migrate
from tests.processes import HTTP, linux_only, until

IDLE = 400


@contextmanager
def api(home: Path, soft: int, hard: int) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """`bestepoch api` with these limits of open files: its process, port and log."""
    port, log = free_port("127.0.0.1"), home / "log"
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_LOG_LEVEL": "info"}
    command = [sys.executable, "-m", "service.cli"]
    migrate(f"sqlite:///{home / 'bestepoch.db'}")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"',
                "sh",
                *command,
                "api",
                f"--port={port}",
            ],
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: answers(port), 30)
        yield process, port, log
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        return bool(httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=5, **HTTP).status_code == 200)
    except httpx2.TransportError:
        return False


def open_in(connections: list[socket.socket]) -> int:
    """How many the server has not closed."""
    count = 0
    for each in connections:
        each.setblocking(False)
        try:
            count += bool(each.recv(1))
        except BlockingIOError:
            count += 1
        except ConnectionResetError:
            pass
    return count


@linux_only
def test_new_clients_are_served_while_idle_ones_hold_all_connections(tmp_path: Path) -> None:
    with api(tmp_path, 256, 256) as (_, port, log), ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(IDLE)]

        assert all(answers(port) for _ in range(3))
        assert 0 < open_in(idle) <= connections_within(256)
        assert log.stat().st_size < 20_000
        assert log.read_text().count("connection limit of") == 1


@linux_only
def test_the_soft_limit_of_open_files_is_raised_to_the_hard_limit(tmp_path: Path) -> None:
    with api(tmp_path, 256, 2_048) as (process, port, log), ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(IDLE)]

        assert answers(port)
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (2_048, 2_048)
        assert open_in(idle) == IDLE
        assert "connection limit of" not in log.read_text()


@pytest.mark.parametrize("files", [256, 1_024, 4_096, 65_536, 1_048_576])
def test_the_connection_limit_leaves_descriptors_for_files_and_the_database(files: int) -> None:
    connections, backlog = connections_within(files), backlog_within(files)

    assert 2 * connections + max(128, 4 * backlog) <= files
    assert connections >= files // 4
