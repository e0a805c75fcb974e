"""Fetches a data set from a connection: its files or rows, read in a confined process, to be stored as a snapshot."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from service.api.data_reference import refused
from service.api.dataset_storage import Source
from service.connections import patterns
from service.connections.fetch import fetch
from service.connections.messages import FetchLimits
from service.domain.connection import ConnectionKind
from service.errors import FieldError, InvalidData, NotFound
from service.settings import read_secret
from service.spec.data_reference import Provenance, SourceObject
from service.spec.read_options import ReadOptions
from service.spec.text import some
from service.store import connections, datasets

if TYPE_CHECKING:
    from pathlib import Path

    from service.api.context import RequestContext
    from service.api.quota import UploadReservation
    from service.connections.messages import FetchedFile
    from service.domain.connection import Connection
    from service.spec.data_reference import DataReference
    from service.spec.table import Dataset
    from service.store.datasets import Import

MAX_NAMES = 100  # of connections that a message may list


@dataclass(frozen=True)
class Asked:
    """A request to read a reference, and the data set that it refreshes, if any."""

    reference: DataReference
    read: Import
    refreshed_from: str | None = None


def fetch_source(
    context: RequestContext, asked: Asked, folder: Path, reservation: UploadReservation
) -> Source | Dataset:
    """The files of a reference in `folder`, ready to be stored, or the data set of the same Idempotency-Key.

    Blocks while other servers answer. Raises RequestValidationError and InvalidData with a pointer, TooLarge,
    SourceError, QuotaExceeded.
    """
    reference = asked.reference
    if asked.read.idempotency_key is not None:
        with context.database.reading() as database:
            key, sha256 = asked.read.idempotency_key, asked.read.request_sha256
            known = datasets.by_idempotency_key(database, key, sha256)
        if known is not None:
            return known
    declared = _connection(context, reference)
    files = _fetched(context, declared, reference, folder)
    size = sum(file.size_bytes for file in files)
    reservation.resize(size)
    context.state.quota.check(context.database, context.caller.tenant)
    return Source(
        files={file.path: file.local for file in files},
        sha256=_fingerprint(files),
        size_bytes=size,
        reading=reference.read_options,
        canonical=reference.canonical,
        name=reference.name,
        provenance=_provenance(asked, files),
        read=asked.read,
        warnings=[warning for file in files for warning in file.warnings],
    )


def _connection(context: RequestContext, reference: DataReference) -> Connection:
    """The declared connection; raises RequestValidationError for what it cannot answer."""
    try:
        with context.database.reading() as database:
            declared = connections.get(database, reference.connection)
    except NotFound:
        with context.database.reading() as database:
            usable = {each.name for each in connections.usable(database, limit=MAX_NAMES)}
        there = f"declared connections: {some(sorted(usable))}" if usable else "no connection is declared"
        raise refused(reference, "connection", f"is unknown; {there}") from None
    if declared.kind is ConnectionKind.postgresql:
        if reference.query is None:
            raise refused(reference, "path", f"should be a query: {declared.name} is a database")
        if reference.read_options != ReadOptions():
            raise refused(reference, "query", "has typed values: options for reading files do not apply")
    elif reference.path is None:
        raise refused(reference, "query", f"should be a path: {declared.name} has files")
    elif fault := patterns.fault(reference.path):
        raise refused(reference, "path", fault)
    elif declared.kind is ConnectionKind.https and patterns.is_pattern(reference.path):
        raise refused(reference, "path", "should name one file: a web server does not list its files")
    return declared


def _fetched(
    context: RequestContext, declared: Connection, reference: DataReference, folder: Path
) -> list[FetchedFile]:
    settings, pointer = context.state.settings, "/query" if reference.path is None else "/path"
    limits = FetchLimits(
        rows=settings.max_query_rows, size_bytes=settings.max_upload_bytes, seconds=settings.max_fetch_seconds
    )
    allowed = context.state.file_process_limits
    try:
        return fetch(declared, folder, allowed, limits, read_secret, path=reference.path, query=reference.query)
    except InvalidData as error:
        raise type(error)(error.detail, (FieldError(pointer, error.detail),)) from error


def _fingerprint(files: list[FetchedFile]) -> str:
    """SHA-256 of the bytes of one file, as for an upload, or of the list of several files with theirs."""
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256(json.dumps([[file.path, file.sha256] for file in files]).encode()).hexdigest()


def _provenance(asked: Asked, files: list[FetchedFile]) -> Provenance:
    reference = asked.reference
    objects = [SourceObject(**file.model_dump(exclude={"local", "warnings"})) for file in files]
    return Provenance(
        connection=reference.connection,
        path=reference.path,
        query=reference.query,
        objects=objects if reference.query is None else [],
        read_at=datetime.now(UTC),
        refreshed_from=asked.refreshed_from,
    )
