"""Files of a web server: by its declared host alone, whatever it redirects to, and with its certificate checked."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from service.domain.connection import Connection, ConnectionKind
from service.errors import InvalidData, SourceError, TooLarge
from tests.connections.conftest import LIMITS, Fetch, WebServer, declared

CSV = b"a,b\n1,2\n"


def connection(web: WebServer, **fields: object) -> Connection:
    return declared(f"{web.url}/data", ConnectionKind.https, **{"allow_private": True, **fields})


def test_a_file_is_fetched_with_the_token_and_what_the_server_says_of_it(web: WebServer, fetched: Fetch) -> None:
    modified = "Wed, 21 Oct 2026 07:28:00 GMT"
    web.pages["/data/x%20y.csv"] = 200, {"ETag": '"v1"', "Last-Modified": modified}, CSV

    [file] = fetched(connection(web, secrets={"token": "s3cret"}), path="x y.csv")

    assert file.local.read_bytes() == CSV
    assert (file.path, file.size_bytes, file.etag) == ("x y.csv", len(CSV), '"v1"')
    assert file.modified_at is not None
    assert file.modified_at.isoformat() == "2026-10-21T07:28:00+00:00"
    assert web.asked[0][1]["authorization"] == "Bearer s3cret"


def test_basic_authentication(web: WebServer, fetched: Fetch) -> None:
    web.pages["/data/a.csv"] = 200, {}, CSV

    fetched(connection(web, secrets={"user": "me", "password": "word"}), path="a.csv")

    assert web.asked[0][1]["authorization"] == "Basic bWU6d29yZA=="


def test_a_redirect_on_the_same_host_is_followed(web: WebServer, fetched: Fetch) -> None:
    web.pages["/data/a.csv"] = 302, {"Location": "/other/b.csv"}, b""
    web.pages["/other/b.csv"] = 200, {}, CSV

    [file] = fetched(connection(web), path="a.csv")

    assert file.local.read_bytes() == CSV


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_off_the_host_reaches_nothing(
    web: WebServer, elsewhere: WebServer, fetched: Fetch, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere.pages["/secret"] = 200, {}, b"secret"
    web.pages["/data/a.csv"] = 302, {"Location": f"{scheme}://127.0.0.1:{elsewhere.port}/secret"}, b""

    with pytest.raises(SourceError, match="redirects to another host"):
        fetched(connection(web), path="a.csv")

    assert elsewhere.asked == []
    assert f"the server leads to 127.0.0.1:{elsewhere.port}" in caplog.text


def test_a_redirect_to_the_metadata_service_is_refused(web: WebServer, fetched: Fetch) -> None:
    web.pages["/data/a.csv"] = 307, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""

    with pytest.raises(SourceError, match="redirects to another host"):
        fetched(connection(web), path="a.csv")


def test_a_private_address_must_be_declared(web: WebServer, fetched: Fetch) -> None:
    with pytest.raises(SourceError, match="private address"):
        fetched(connection(web, allow_private=False), path="a.csv")

    assert web.asked == []


def test_a_missing_file_and_refused_access(web: WebServer, fetched: Fetch) -> None:
    web.pages["/data/closed.csv"] = 403, {}, b""

    with pytest.raises(InvalidData, match=r"there is no file 'gone\.csv'"):
        fetched(connection(web), path="gone.csv")
    with pytest.raises(SourceError, match="the server refuses access"):
        fetched(connection(web), path="closed.csv")


def test_expired_credentials_of_a_bucket_are_told_from_a_missing_file(web: WebServer, fetched: Fetch) -> None:
    web.pages["/lake/a.csv"] = 400, {}, b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>"
    keys = {"access_key_id": "key", "secret_access_key": "secret", "session_token": "old"}
    bucket = declared("s3://lake", ConnectionKind.s3, options={"endpoint": web.url}, secrets=keys, allow_private=True)

    with pytest.raises(SourceError, match=r"connection 'lake': .* the secrets of the connection have expired"):
        fetched(bucket, path="a.csv")


@pytest.mark.parametrize("path", ["%2e%2e/secret.csv", "..%2fsecret.csv", "%2E%2E%2Fsecret.csv", "x?y", "x#y"])
def test_a_path_is_quoted_and_does_not_leave_the_declared_folder(web: WebServer, fetched: Fetch, path: str) -> None:
    web.pages["/secret.csv"] = 200, {}, CSV

    with pytest.raises(InvalidData, match="there is no file"):
        fetched(connection(web), path=path)

    [(asked, _)] = web.asked
    assert unquote(asked) == f"/data/{path}"
    assert not {"?", "#"} & set(asked)


def test_more_bytes_than_allowed_are_not_read(web: WebServer, fetched: Fetch) -> None:
    web.pages["/data/large.csv"] = 200, {}, b"x" * (LIMITS.size_bytes + 1)

    with pytest.raises(TooLarge, match="more than 100,000 bytes"):
        fetched(connection(web), path="large.csv")


def test_a_certificate_is_checked_against_the_declared_authority(
    web: WebServer, fetched: Fetch, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = [
        "-subj",
        "/CN=bestepoch",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    files = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *files, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.wrap(context)
    web.pages["/data/a.csv"] = 200, {}, CSV

    [file] = fetched(connection(web, options={"ca_file": str(certificate)}), path="a.csv")

    assert file.local.read_bytes() == CSV
    with pytest.raises(SourceError):
        fetched(connection(web), path="a.csv")
