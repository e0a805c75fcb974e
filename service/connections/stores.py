"""The object store of a connection, by obstore, behind the proxy that keeps it to its declared host."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from service.connections import secret_formats
from service.connections.egress import EgressProxy
from service.connections.messages import OpenConnection
from service.domain.connection import ConnectionKind
from service.errors import SourceError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_log = logging.getLogger(__name__)

DEFAULT_REGION = "us-east-1"
RETRY: RetryConfig = {
    "max_retries": 4,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(seconds=60),
}


@contextmanager
def open_store(connection: OpenConnection, seconds: float) -> Iterator[tuple[ObjectStore, EgressProxy]]:
    """The store below the declared URL; its requests may take `seconds`.

    Raises SourceError for a refused host, and for secrets and options that no store takes.
    """
    if fault := secret_formats.fault(connection.secrets) or _certificate_fault(connection.ca_certificate):
        raise SourceError(fault)
    endpoint = _endpoint(connection)
    with EgressProxy([endpoint], allow_private=connection.allow_private) as proxy:
        client: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "proxy_url": proxy.url,
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=15),
            "read_timeout": timedelta(seconds=60),
        }
        if connection.ca_certificate is not None:
            client["root_certificate"] = connection.ca_certificate
        try:
            store = _store(connection, endpoint, client)
        except (BaseError, ValueError) as error:
            _log.warning("%s %s", type(error).__name__, connection.redacted(str(error))[:1_000])
            given = ", ".join(["the URL", *(connection.options | connection.secrets)])
            raise SourceError(f"one of its options or secrets is wrong, of {given}: see the service's log") from None
        yield store, proxy


def _certificate_fault(pem: str | None) -> str | None:
    if pem is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):
            return "the ca_file of the connection has no valid certificate in PEM"
    return None


def _endpoint(connection: OpenConnection) -> str:
    """URL of the host that answers for a connection."""
    options = connection.options
    if connection.kind is ConnectionKind.https:
        return connection.url
    if connection.kind is ConnectionKind.gs:
        return "https://storage.googleapis.com"
    if connection.kind is ConnectionKind.az:
        return options.get("endpoint") or f"https://{options['account_name']}.blob.core.windows.net"
    return options.get("endpoint") or f"https://s3.{options.get('region', DEFAULT_REGION)}.amazonaws.com"


def _store(connection: OpenConnection, endpoint: str, client: ClientConfig) -> ObjectStore:
    secrets = connection.secrets
    if connection.kind is ConnectionKind.https:
        if secrets:
            client["default_headers"] = {"authorization": _authorization(secrets)}
        return HTTPStore(connection.url.rstrip("/"), client_options=client, retry_config=RETRY)
    parts = urlsplit(connection.url)
    shared: dict[str, Any] = {
        "prefix": parts.path.strip("/") or None,
        "client_options": client,
        "retry_config": RETRY,
        "skip_signature": not secrets,  # a public bucket; without it, the metadata service would be asked for keys
        **secrets,
    }
    if connection.kind is ConnectionKind.gs:
        return GCSStore(parts.netloc, **shared)
    if connection.kind is ConnectionKind.az:
        sas_token = shared.pop("sas_token", None)
        key = {} if sas_token is None else {"sas_key": sas_token}
        account = connection.options["account_name"]
        return AzureStore(parts.netloc, account_name=account, endpoint=endpoint, **key, **shared)
    region = connection.options.get("region", DEFAULT_REGION)
    return S3Store(parts.netloc, region=region, endpoint=endpoint, virtual_hosted_style_request=False, **shared)


def _authorization(secrets: dict[str, str]) -> str:
    if "token" in secrets:
        return f"Bearer {secrets['token']}"
    return "Basic " + base64.b64encode(f"{secrets['user']}:{secrets['password']}".encode()).decode()
