"""Several API processes on one port: replaced under load, killed, and what they share."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from service.api.processes.parent import ApiProcesses, listen
from service.settings import free_port
from service.store.engine import migrate
from tests.examples import postgres_at_least
from tests.processes import HTTP, alive, children, command, linux_only, until

HOLDER = Path(__file__).with_name("slot_holder.py")
PAUSE_SECONDS = 0.02  # between the requests of a client: new processes need the processor, too
TINY = {"data": {"kind": "synthetic", "rows": 100}, "max_epochs": 3}

Parent = subprocess.Popen[bytes]

pytestmark = linux_only
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)  # where the database plays no part


@contextmanager
def api_processes(
    home: Path, database: str, **settings: str
) -> Iterator[tuple[httpx2.Client, subprocess.Popen[bytes]]]:
    """Two API processes on one port: a client, and their parent."""
    port = free_port("127.0.0.1")
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_DATABASE_URL": database, **settings}
    started = [sys.executable, "-m", "service.cli", "api", "--port", f"{port}", "--processes", "2"]
    parent = subprocess.Popen(started, env=environment)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=70.0, **HTTP) as client:
            until(lambda: is_ready(client), 60)
            until(lambda: len(processes_of(parent)) == 2)
            yield client, parent
    finally:
        parent.terminate()
        assert parent.wait(60) == 0


def is_ready(client: httpx2.Client) -> bool:
    with suppress(httpx2.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def processes_of(parent: Parent) -> set[int]:
    return {pid for pid in children(parent.pid) if alive(pid) and "--process " in command(pid)}


@contextmanager
def load(url: str) -> Iterator[list[int | Exception]]:
    """Clients of all kinds within the block: what each of their requests was answered, or its error."""
    answers, over = list[int | Exception](), threading.Event()

    def repeat(send: Callable[[httpx2.Client], httpx2.Response], *, reconnect: bool) -> None:
        with ExitStack() as stack:
            client = stack.enter_context(httpx2.Client(base_url=url, timeout=70.0, **HTTP))
            while not over.is_set():
                if reconnect:
                    client = stack.enter_context(httpx2.Client(base_url=url, timeout=70.0, **HTTP))
                try:
                    answers.append(send(client).status_code)
                except httpx2.TransportError as error:
                    answers.append(error)
                time.sleep(PAUSE_SECONDS)

    job = httpx2.post(f"{url}/v1/jobs", json=TINY).json()["id"]
    kinds: list[tuple[Callable[[httpx2.Client], httpx2.Response], bool]] = [
        (lambda client: client.get(f"/v1/jobs/{job}"), False),
        (lambda client: client.get(f"/v1/jobs/{job}"), True),
        (lambda client: client.post("/v1/jobs", json=TINY), False),
        (lambda client: client.post("/v1/jobs", json=TINY), True),
        (lambda client: client.get(f"/v1/jobs/{job}?wait=60"), False),
    ]
    threads = [threading.Thread(target=repeat, args=[send], kwargs={"reconnect": again}) for send, again in kinds]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        httpx2.post(f"{url}/v1/jobs/{job}/cancel")
        for thread in threads:
            thread.join(70)


@postgres_at_least
def test_no_request_is_lost_while_the_processes_are_replaced(tmp_path: Path, database_url: str) -> None:
    with api_processes(tmp_path, database_url) as (client, parent):
        before = processes_of(parent)
        with load(str(client.base_url)) as answers:
            until(lambda: len(answers) > 50, 60)
            parent.send_signal(signal.SIGHUP)
            until(lambda: len(processes_of(parent)) == 2 and not processes_of(parent) & before, 180)
            seen = len(answers)
            until(lambda: len(answers) > seen + 50, 60)
        jobs = client.get("/v1/usage").json()["waiting_jobs"]["used"]

    assert {answer for answer in answers if answer not in (200, 201)} == set()
    assert jobs == answers.count(201)  # the first job was cancelled


@on_sqlite
def test_a_killed_process_is_replaced_and_the_other_answers_meanwhile(tmp_path: Path, database_url: str) -> None:
    with api_processes(tmp_path, database_url) as (client, parent):
        killed = min(processes_of(parent))
        os.kill(killed, signal.SIGKILL)
        until(lambda: not alive(killed))
        for _ in range(20):
            assert httpx2.get(client.base_url.join("/v1/jobs"), **HTTP).status_code == 200
        until(lambda: len(processes_of(parent)) == 2, 30)

        parent_killed = processes_of(parent)
        parent.kill()
        until(lambda: not any(map(alive, parent_killed)), 30)
        parent.returncode = 0  # what the block asserts


@on_sqlite
def test_one_answer_has_the_metrics_of_all_processes(tmp_path: Path, database_url: str) -> None:
    with api_processes(tmp_path, database_url) as (client, _):
        for _ in range(40):
            httpx2.get(client.base_url.join("/v1/jobs"), **HTTP)
        text = client.get("/metrics").text

    counted = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("bestepoch_http_request_seconds_count") and 'route="/v1/jobs"' in line
    ]
    assert sum(counted) == 40
    assert text.count("# TYPE bestepoch_http_request_seconds histogram") == 1
    assert text.count("bestepoch_jobs{") <= 1
    assert {f'process="{number}"' in text for number in (0, 1)} == {True}


def test_streams_are_limited_over_all_processes(tmp_path: Path, database_url: str) -> None:
    with api_processes(tmp_path, database_url, BESTEPOCH_MAX_STREAMS="3") as (client, _), ExitStack() as streams:
        path = client.base_url.join(f"/v1/jobs/{client.post('/v1/jobs', json=TINY).json()['id']}/stream")
        for _ in range(3):
            assert streams.enter_context(httpx2.stream("GET", path, **HTTP)).status_code == 200
        time.sleep(3)  # two exchanges

        refused = [httpx2.get(path, **HTTP).status_code for _ in range(10)]

    assert refused == [429] * 10


def open_stream(client: httpx2.Client, path: str) -> socket.socket | None:
    """A connection on which events come; None: refused, as the tenant has too many."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10.0)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {client.base_url.host}:{client.base_url.port}\r\n\r\n".encode())
    status = connection.recv(12).split()[-1]
    assert status in (b"200", b"429")
    if status == b"429":
        connection.close()
    return connection if status == b"200" else None


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed this connection; if it has, this side does so too."""
    connection.settimeout(0.2)
    with suppress(ConnectionError):
        try:
            while connection.recv(65_536):
                pass
        except TimeoutError:
            return True
    connection.close()
    return False


@postgres_at_least
def test_a_process_killed_under_load_is_replaced_and_its_streams_are_given_back(
    tmp_path: Path, database_url: str
) -> None:
    with api_processes(tmp_path, database_url, BESTEPOCH_MAX_STREAMS="7") as (client, parent):
        path = f"/v1/jobs/{client.post('/v1/jobs', json=TINY).json()['id']}/stream"
        with load(str(client.base_url)) as answers:  # one of them waits, which counts as a stream
            streams = [open_stream(client, path) for _ in range(6)]
            lived = streams
            for pid in processes_of(parent):
                if len(lived) == 6:  # the first one killed had none of them
                    os.kill(pid, signal.SIGKILL)
                    until(lambda: not alive(pid))  # noqa: B023
                    lived = [each for each in streams if each and is_open(each)]
            assert len(lived) < 6

            def opened_again() -> bool:
                if len(lived) < 6 and (another := open_stream(client, path)):
                    lived.append(another)
                return len(lived) == 6

            until(opened_again, 40)
            until(lambda: len(processes_of(parent)) == 2, 40)
            time.sleep(3)  # two exchanges
            assert open_stream(client, path) is None
            seen = len(answers)
            until(lambda: len(answers) > seen + 50, 40)
        for each in lived:
            each.close()

    statuses = {answer for answer in answers if isinstance(answer, int)}
    assert statuses <= {200, 201, 429}  # the one that waits may find too many streams
    assert sum(isinstance(answer, Exception) for answer in answers) <= 2 * 5  # requests in progress, of five clients


def test_slots_are_shared_and_those_of_a_killed_process_are_free(tmp_path: Path) -> None:
    def holders() -> set[int]:
        return {int(file.name) for file in tmp_path.iterdir() if alive(int(file.name))}

    async def scenario(parent: ApiProcesses) -> None:
        running = asyncio.create_task(parent.run())
        await asyncio.to_thread(until, lambda: len(holders()) == 2)
        await asyncio.sleep(0.5)
        first = holders()
        assert len(first) == 2  # of three processes: there are two slots for exports
        os.kill(min(first), signal.SIGKILL)
        await asyncio.to_thread(until, lambda: len(holders() - first) == 1)
        os.kill(os.getpid(), signal.SIGTERM)  # its handler is the parent's
        assert await running == 0

    with listen("127.0.0.1", 0, 16) as listening:
        asyncio.run(scenario(ApiProcesses([sys.executable, str(HOLDER), str(tmp_path)], listening, 3)))


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/bestepoch.db")
    with listen("127.0.0.1", 0, 16) as taken:
        port = taken.getsockname()[1]
        started = [sys.executable, "-m", "service.cli", "api", "--port", f"{port}", "--processes", "2"]
        environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path)}
        ended = subprocess.run(started, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_processes_that_cannot_start_end_their_parent(tmp_path: Path) -> None:
    started = [sys.executable, "-m", "service.cli", "api", "--port", "0", "--processes", "2"]
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path)}  # whose database is not migrated
    ended = subprocess.run(started, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
