"""Requests to a service that cannot be reached, or to something else."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx2
import pytest

from bestepoch import Client, ServiceUnavailable


class Page(BaseHTTPRequestHandler):
    """Another program's web page, whatever is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_an_unreachable_service_raises_service_unavailable_with_a_hint() -> None:
    url = f"http://127.0.0.1:{closed_port()}"

    with Client(url, tries=2) as client, pytest.raises(ServiceUnavailable) as raised:
        client.usage()

    assert raised.value.url == url
    assert isinstance(raised.value, ConnectionError)
    assert str(raised.value).startswith(f"no service answers at {url} (")
    assert "`bestepoch serve` starts one" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_timeout_raises_service_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, tries=1, timeout=0.2) as client, pytest.raises(ServiceUnavailable, match="timed out"):
            client.usage()


def test_another_program_at_the_url_raises_service_unavailable(page: str) -> None:
    with Client(page) as client, pytest.raises(ServiceUnavailable, match="no bestepoch service"):
        client.usage()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", ""])
def test_a_url_without_http_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        Client(url)


def test_a_service_with_tls_is_verified_and_plain_http_loads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    used = dict[str, Any]()
    for url in ("http://localhost", "https://localhost"):
        monkeypatch.setattr(httpx2, "Client", lambda verify, url=url, **_: used.update({url: verify}))
        Client(url)

    assert used["https://localhost"] is True
    plain = used["http://localhost"]
    assert (plain.verify_mode, plain.cert_store_stats()["x509"]) == (ssl.CERT_REQUIRED, 0)
