"""Data by reference: the files or the query of a connection that a data set is read from, and what was read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from service.spec.base import Name, Strict, errors_at
from service.spec.read_options import ReadOptions

ConnectionName = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
SourcePath = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1_000)]
Query = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100_000, pattern=r"^[^\x00]+$")]


class DataReference(ReadOptions):
    """A table in a connection: files by their path, or the rows of a query; and how to read the files."""

    connection: ConnectionName
    """Name of the connection; `GET /v1/connections` lists them."""
    path: SourcePath | None = None
    """A file, or a pattern of files, such as `2026/*.parquet`: `*`, `?` and `[a-z]` within a folder, `**` any number of
    folders. Several files become one table, in the order of their paths."""
    query: Query | None = None
    """A query of a `postgresql` connection: one SELECT, which is run read-only. ORDER BY makes the rows, and so their
    SHA-256, the same each time."""
    name: Name | None = None
    """An optional name."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.path is not None and self.query is not None:
            raise errors_at("DataReference", [(("query",), "should be absent where there is a path", self.query)])
        if self.path is None and self.query is None:
            raise errors_at("DataReference", [(("path",), None, None)])
        return self

    @property
    def read_options(self) -> ReadOptions:
        """How to read the files."""
        options = {name: getattr(self, name) for name in ReadOptions.model_fields}
        return ReadOptions(**{**options, "null": None if self.null is None else sorted(set(self.null))})

    @property
    def canonical(self) -> str:
        """The reference without the name, as canonical JSON: the same for each refresh."""
        chosen = self.model_copy(update=dict(self.read_options))
        return chosen.model_dump_json(exclude={"name"}, exclude_none=True)


class SourceObject(Strict):
    """A file that a data set was read from, as its server described it."""

    path: str
    """Its path in the connection."""
    size_bytes: int
    """Size in bytes."""
    etag: str | None = None
    """Its ETag; null if the server sends none."""
    version: str | None = None
    """Its version; null without versioning."""
    modified_at: datetime | None = None
    """When it was modified (UTC)."""
    sha256: str
    """SHA-256 of the bytes that were read."""


class Provenance(Strict):
    """Where the rows of a data set come from."""

    connection: str
    """Name of the connection."""
    path: str | None = None
    """The path or pattern; null for a query."""
    query: str | None = None
    """The query; null for files."""
    objects: list[SourceObject] = []
    """The files, in the order of their rows; empty for a query."""
    read_at: datetime
    """When they were read (UTC)."""
    refreshed_from: str | None = None
    """Id of the data set whose refresh made this one; null for the first version."""
