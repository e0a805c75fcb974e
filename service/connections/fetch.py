"""Reads a connection in a process of its own: files of a path or pattern, or the rows of a query."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from service.connections.messages import Fetched, FetchedFile, FetchLimits, FetchRequest, OpenConnection
from service.data.processes.runner import Allowance, ask
from service.domain.connection import Connection, ConnectionKind
from service.errors import SourceError

_log = logging.getLogger(__name__)

CHILD = "service.connections.fetch_child"
SYSTEM_AUTHORITIES = "system"  # as sslrootcert: those that the machine trusts


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

    `read_secret`: the secret of a reference; raises ValueError. Blocks and raises as `ask` does; SourceError names the
    connection.
    """
    try:
        return _fetch(connection, folder.absolute(), allowed, limits, read_secret, path, query)
    except SourceError as error:
        raise SourceError(f"connection {connection.name!r}: {error.detail}") from error


def _fetch(
    connection: Connection,
    folder: Path,
    allowed: Allowance,
    limits: FetchLimits,
    read_secret: Callable[[str], str],
    path: str | None,
    query: str | None,
) -> list[FetchedFile]:
    opened = OpenConnection(
        kind=connection.kind,
        url=connection.url,
        options=connection.options,
        secrets={name: _read(name, reference, read_secret) for name, reference in connection.secrets.items()},
        ca_certificate=_certificate(connection),
        allow_private=connection.allow_private,
    )
    request = FetchRequest(connection=opened, path=path, query=query, folder=folder, limits=limits)
    seconds = min(allowed.seconds, limits.seconds + 30)  # the child says more about its limit
    allowed = allowed.model_copy(update={"seconds": seconds})
    network = connection.kind is not ConnectionKind.folder
    return checked(ask(CHILD, request, allowed, readable=_readable(connection), network=network), folder)


def checked(answer: object, folder: Path) -> list[FetchedFile]:
    """The files of the process's answer: regular ones of `folder`, whole, and no links.

    Whoever has taken over the process could name any file of this machine, which would be read as a table. Raises
    SourceError.
    """
    try:
        files = Fetched.model_validate(answer).files
        for file in files:
            found = file.local.lstat()
            if file.local.parent != folder or not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise ValueError(f"{file.local} is no file of its own in {folder}")
            if found.st_size != file.size_bytes:
                raise ValueError(f"{file.local} has {found.st_size:,} bytes, not {file.size_bytes:,}")
    except (OSError, ValueError) as error:
        _log.error("the process that reads a connection gives a wrong answer: %s", error)
        raise SourceError("the process that reads it gives a wrong answer: see the service's log") from None
    return files


def _read(name: str, reference: str, read_secret: Callable[[str], str]) -> str:
    try:
        return read_secret(reference)
    except ValueError as error:
        _log.warning("a secret of a connection cannot be read: %s", error)
        raise SourceError(f"the secret {name} of the connection cannot be read: see the service's log") from None


def _readable(connection: Connection) -> list[Path]:
    """Files and folders that the process may open: a declared folder, the certificates of a database's URL."""
    parts = urlsplit(connection.url)
    if connection.kind is ConnectionKind.folder:
        return [Path(parts.path)]
    if connection.kind is not ConnectionKind.postgresql:
        return []
    query = parse_qs(parts.query)
    files = {name: path for name in ("sslrootcert", "sslcert", "sslkey") for path in query.get(name, ())}
    for name, path in files.items():
        if path != SYSTEM_AUTHORITIES and not os.access(path, os.R_OK):
            raise SourceError(f"the file of {name} in the connection's URL cannot be read")
    return [Path(path) for path in files.values()]


def _certificate(connection: Connection) -> str | None:
    path = connection.options.get("ca_file")
    try:
        return None if path is None else Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise SourceError("the ca_file of the connection cannot be read") from None
