"""What the API asks of the process that reads a connection, and what that answers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from service.domain.connection import ConnectionKind

QUERY_FILE = "rows.jsonl"


class OpenConnection(BaseModel):
    """A connection with its secrets; never stored or logged."""

    kind: ConnectionKind
    url: str
    options: dict[str, str]
    secrets: dict[str, str]
    ca_certificate: str | None
    allow_private: bool

    def redacted(self, text: str) -> str:
        """`text` for the log: with none of the secrets."""
        for secret in sorted(filter(None, self.secrets.values()), key=len, reverse=True):
            text = text.replace(secret, "...")
        return text


class FetchLimits(BaseModel):
    """Limits of what is read."""

    rows: int
    size_bytes: int
    seconds: float


class FetchRequest(BaseModel):
    """The request to the child: a path, a query, or neither to test the connection."""

    connection: OpenConnection
    path: str | None = None
    query: str | None = None
    folder: Path
    limits: FetchLimits


class SourceFile(BaseModel):
    """A file of a connection: what its server says of it."""

    path: str
    size_bytes: int
    etag: str | None = None
    version: str | None = None
    modified_at: datetime | None = None


class FetchedFile(SourceFile):
    """A file that was read; `size_bytes` is the number of bytes that came."""

    sha256: str
    local: Path
    warnings: list[str] = []


class Fetched(BaseModel):
    """The answer of the child: the files in the order of their paths; for a query one file of JSON Lines."""

    files: list[FetchedFile]
