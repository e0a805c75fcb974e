"""Reads a connection in a process of its own: files of a path or pattern, or the rows of a query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from service.connections.messages import Fetched, FetchedFile, FetchLimits, FetchRequest, OpenConnection
from service.data.processes.runner import Allowance, ask
from service.domain.connection import Connection, ConnectionKind
from service.errors import SourceError

CHILD = "service.connections.fetch_child"


def fetch(
    connection: Connection,
    folder: Path,
    allowed: Allowance,
    limits: FetchLimits,
    read_secret: Callable[[str], str],
    *,
    path: str | None = None,
    query: str | None = None,
) -> list[FetchedFile]:
    """The files of `path`, or the rows of `query` as one file, in the existing folder; without both, a test.

    `read_secret`: the secret of a reference; raises ValueError. Blocks and raises as `ask` does.
    """
    opened = OpenConnection(
        kind=connection.kind,
        url=connection.url,
        options=connection.options,
        secrets={name: _read(name, reference, read_secret) for name, reference in connection.secrets.items()},
        ca_certificate=_certificate(connection),
        allow_private=connection.allow_private,
    )
    request = FetchRequest(connection=opened, path=path, query=query, folder=folder.absolute(), limits=limits)
    is_folder = connection.kind is ConnectionKind.folder
    readable = [Path(urlsplit(connection.url).path)] if is_folder else []
    seconds = min(allowed.seconds, limits.seconds + 30)  # the child says more about its limit
    allowed = allowed.model_copy(update={"seconds": seconds})
    answer = ask(CHILD, request, allowed, readable=readable, network=not is_folder)
    return Fetched.model_validate(answer).files


def _read(name: str, reference: str, read_secret: Callable[[str], str]) -> str:
    try:
        return read_secret(reference)
    except ValueError as error:
        raise SourceError(f"the operator's secret {name} of the connection cannot be read: {error}") from None


def _certificate(connection: Connection) -> str | None:
    path = connection.options.get("ca_file")
    try:
        return None if path is None else Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise SourceError("the ca_file of the connection cannot be read") from None
