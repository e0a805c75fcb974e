"""The store of each kind, as obstore takes its settings; no server is asked."""

from __future__ import annotations

from typing import Any

import pytest

from service.connections import egress
from service.connections.messages import OpenConnection
from service.connections.stores import open_store
from service.domain.connection import ConnectionKind
from service.errors import SourceError

S3, GS, AZ, HTTPS = ConnectionKind.s3, ConnectionKind.gs, ConnectionKind.az, ConnectionKind.https


@pytest.mark.parametrize(
    ("kind", "url", "options", "secrets", "host"),
    [
        (S3, "s3://lake/tables", {}, {}, "s3.us-east-1.amazonaws.com"),
        (S3, "s3://lake", {"region": "eu-north-1"}, {"access_key_id": "a", "secret_access_key": "b"},
         "s3.eu-north-1.amazonaws.com"),
        (S3, "s3://lake", {"endpoint": "https://s3.example.test:9000"},
         {"access_key_id": "a", "secret_access_key": "b", "session_token": "c"}, "s3.example.test"),
        (GS, "gs://lake/tables", {}, {}, "storage.googleapis.com"),
        (AZ, "az://lake/tables", {"account_name": "me"}, {"account_key": "YQ=="}, "me.blob.core.windows.net"),
        (AZ, "az://lake", {"account_name": "me"}, {"sas_token": "sv=1&sig=a"}, "me.blob.core.windows.net"),
        (AZ, "az://lake", {"account_name": "me", "endpoint": "https://blob.example.test/me"}, {}, "blob.example.test"),
        (HTTPS, "https://data.example.test/x/", {}, {"token": "t"}, "data.example.test"),
    ],
)  # fmt: skip
def test_a_store_leads_to_its_declared_host_alone(
    monkeypatch: pytest.MonkeyPatch,
    kind: ConnectionKind,
    url: str,
    options: dict[str, str],
    secrets: dict[str, str],
    host: str,
) -> None:
    asked: list[tuple[str, bool]] = []

    def resolve(name: str, port: int, *, allow_private: bool) -> list[str]:
        asked.append((name, allow_private))
        return ["192.0.2.1"]

    monkeypatch.setattr(egress, "resolve", resolve)
    connection = OpenConnection(
        kind=kind, url=url, options=options, secrets=secrets, ca_certificate=None, allow_private=False
    )

    with open_store(connection, 10) as (store, proxy):
        client: Any = store.client_options
        assert client["proxy_url"] == proxy.url

    assert asked == [(host, False)]


def test_a_host_without_an_address_fails_before_anything_is_asked() -> None:
    connection = OpenConnection(
        kind=HTTPS, url="https://no-such-host.invalid/", options={}, secrets={}, ca_certificate=None, allow_private=True
    )

    with pytest.raises(SourceError, match="the host of the connection has no address"), open_store(connection, 10):
        pass
