"""The proxy before a connection's server: what flows through a tunnel, and for how long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from service.connections import egress
from service.connections.egress import EgressProxy

IDLE = 0.6


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel is idle after 0.6 seconds."""
    monkeypatch.setattr(egress, "IDLE_SECONDS", IDLE)
    monkeypatch.setattr(egress._Handler, "timeout", IDLE)


@pytest.fixture
def tunnel() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Opens a tunnel: (the client's end, the server's end)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with EgressProxy([f"http://{address}"], allow_private=True) as proxy:

            def opened() -> tuple[socket.socket, socket.socket]:
                host, port = egress.host_and_port(proxy.url)
                client = socket.create_connection((host, port), timeout=10)
                client.sendall(f"CONNECT {address} HTTP/1.1\r\n\r\n".encode())
                remote, _ = server.accept()
                remote.settimeout(10)
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
                return client, remote

            yield opened


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_tunnel_lives_while_bytes_flow_in_one_direction(
    tunnel: Callable[[], tuple[socket.socket, socket.socket]], direction: str
) -> None:
    ends = tunnel()
    one, other = ends if direction == "upload" else ends[::-1]

    with closing(one), closing(other):
        for _ in range(8):  # twice as long as a tunnel may be idle
            one.sendall(b"x")
            assert other.recv(1) == b"x"
            time.sleep(IDLE / 4)
        other.sendall(b"next")  # the direction that was silent
        assert one.recv(4) == b"next"


def test_a_tunnel_without_traffic_ends(tunnel: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    client, remote = tunnel()

    with closing(client), closing(remote):
        assert client.recv(1) == b""
        assert remote.recv(1) == b""


def test_an_end_that_has_sent_everything_still_receives(
    tunnel: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    client, remote = tunnel()

    with closing(client), closing(remote):
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        assert remote.recv(3) == b"ask"
        assert remote.recv(1) == b""
        remote.sendall(b"answer")
        assert client.recv(6) == b"answer"


def test_both_ends_may_send_much_at_once(
    tunnel: Callable[[], tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "IDLE_SECONDS", 30.0)  # however busy the machine is
    client, remote = tunnel()
    much = b"x" * 20_000_000

    with closing(client), closing(remote):
        senders = [threading.Thread(target=each.sendall, args=(much,)) for each in (client, remote)]
        for sender in senders:
            sender.start()
        received = [threading.Thread(target=_receive, args=(each, len(much))) for each in (client, remote)]
        for receiver in received:
            receiver.start()
        for thread in (*senders, *received):
            thread.join(30)
            assert not thread.is_alive()


def _receive(end: socket.socket, size: int) -> None:
    while size:
        chunk = end.recv(min(size, 1_000_000))
        assert chunk, f"{size} bytes are missing"
        size -= len(chunk)
