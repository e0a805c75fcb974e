"""Secrets and options that no store takes: the error names connection and setting, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.domain.connection import ConnectionKind
from service.errors import SourceError
from tests.connections.conftest import Fetch, declared

S3, GS, AZ, HTTPS = ConnectionKind.s3, ConnectionKind.gs, ConnectionKind.az, ConnectionKind.https
KEY = {"private_key": "S3CRET", "private_key_id": "S3CRET", "client_email": "a@example.test"}
ME = {"account_name": "me", "endpoint": "http://127.0.0.1:9"}
HERE = {"endpoint": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("kind", "options", "secrets", "setting"),
    [
        (GS, {}, {"service_account_key": "S3CRET"}, "service_account_key"),
        (GS, {}, {"service_account_key": '{"a": "S3CRET"}'}, "service_account_key"),
        (GS, {}, {"service_account_key": json.dumps(KEY)}, "service_account_key"),
        (AZ, ME, {"account_key": "S3CRET!!"}, "account_key"),
        (AZ, ME, {"sas_token": "S3CRET"}, "sas_token"),
        (HTTPS, {}, {"token": "S3CRET\nx"}, "token"),
        (HTTPS, {}, {"user": "a:b", "password": "S3CRET"}, "user"),
        (S3, HERE, {"access_key_id": "key", "secret_access_key": "S3CRET\nx"}, "secret_access_key"),
        (S3, {"endpoint": "http://127.0.0.1:99999"}, {}, "host and port"),
    ],
)
def test_a_faulty_setting_is_named_without_its_value(
    fetched: Fetch,
    caplog: pytest.LogCaptureFixture,
    kind: ConnectionKind,
    options: dict[str, str],
    secrets: dict[str, str],
    setting: str,
) -> None:
    url = "http://127.0.0.1:9/x" if kind is HTTPS else f"{kind}://place/x"

    with pytest.raises(SourceError) as raised:
        fetched(declared(url, kind, options=options, secrets=secrets, allow_private=True), path="a.csv")

    assert raised.value.detail.startswith("connection 'lake': ")
    assert setting in raised.value.detail
    assert "S3CRET" not in raised.value.detail
    assert "S3CRET" not in caplog.text


def test_what_a_store_refuses_is_one_of_the_settings_that_are_named(fetched: Fetch) -> None:
    keys = {"access_key_id": "key", "secret_access_key": "S3CRET"}
    bucket = declared("s3://place/a//b", S3, options=HERE, secrets=keys, allow_private=True)

    with pytest.raises(SourceError, match="of the URL, endpoint, access_key_id, secret_access_key: see the"):
        fetched(bucket, path="a.csv")


@pytest.mark.parametrize("content", ["not pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, fetched: Fetch, content: str) -> None:
    place = tmp_path / "ca.pem"
    place.write_text(content)
    connection = declared("http://127.0.0.1:9/x", HTTPS, options={"ca_file": str(place)}, allow_private=True)

    with pytest.raises(SourceError, match="ca_file"):
        fetched(connection, path="a.csv")
