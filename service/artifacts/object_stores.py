"""Opens buckets by URL (S3 and its likes, Google Cloud Storage, Azure Blob Storage), by obstore."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from obstore.store import from_url

from service.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from obstore.store import BackoffConfig, ClientConfig, ObjectStore, RetryConfig

CLIENT: ClientConfig = {
    "allow_http": True,  # to an endpoint that the operator gave as http://
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),  # without a byte: the largest single request has 16 MiB
    "timeout": timedelta(hours=1),  # of a download
}
BACKOFF: BackoffConfig = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}
RETRIES: RetryConfig = {"max_retries": 4, "backoff": BACKOFF, "retry_timeout": timedelta(seconds=10)}


def open_bucket(url: str, credentials: Path | None) -> ObjectStore:
    """The bucket at this URL, below its prefix; connects to nothing yet. Raises Misconfigured.

    Credentials are those of `credentials`, a file of lines NAME=VALUE, and of the environment, by the names of the
    provider's own tools: AWS_ACCESS_KEY_ID, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY and so on.
    """
    try:
        config: Any = {} if credentials is None else _read(credentials)
        store: ObjectStore = from_url(url, config=config, client_options=CLIENT, retry_config=RETRIES)
    except (BaseError, OSError, ValueError) as error:
        message = str(error).partition("\n")[0]
        raise Misconfigured(f"the artifact store {url} cannot be opened: {message}") from error
    return store


def _read(path: Path) -> dict[str, str]:
    """The lines NAME=VALUE of a file; lines that begin with # are comments."""
    lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if wrong := next((number for number, (name, equals, _) in enumerate(pairs, 1) if not (name and equals)), None):
        raise ValueError(f"{path}: entry {wrong} is not NAME=VALUE")
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
