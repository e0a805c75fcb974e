"""Reads the files of a path or pattern from a connection into a folder, with a limit on their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from service.connections import patterns
from service.connections.folder import Folder
from service.connections.messages import Fetched, FetchedFile, FetchRequest
from service.connections.object_store import ObjectStore
from service.connections.stores import open_store
from service.domain.connection import ConnectionKind
from service.errors import InvalidData, TooLarge

MAX_FILES = 1_000
MAX_LISTED = 100_000


def read_objects(request: FetchRequest) -> Fetched:
    """The files of `request.path`, in the order of their paths; without a path, test that the connection answers.

    Raises InvalidData if there are none or too many, TooLarge beyond the limit, SourceError, OSError for the disk.
    """
    with _opened(request) as source:
        if request.path is None:
            source.test()
            return Fetched(files=[])
        is_pattern = patterns.is_pattern(request.path) and request.connection.kind is not ConnectionKind.https
        paths = _matching(source, request.path) if is_pattern else [request.path]
        files: list[FetchedFile] = []
        for number, path in enumerate(paths):
            taken = sum(file.size_bytes for file in files)
            files.append(_download(source, path, request.folder / f"source{number}", taken, request.limits.size_bytes))
        return Fetched(files=files)


@contextmanager
def _opened(request: FetchRequest) -> Iterator[Folder | ObjectStore]:
    connection = request.connection
    if connection.kind is ConnectionKind.folder:
        yield Folder(Path(urlsplit(connection.url).path))
        return
    with open_store(connection, request.limits.seconds) as (store, proxy):
        yield ObjectStore(store, proxy, can_list=connection.kind is not ConnectionKind.https)


def _matching(source: Folder | ObjectStore, pattern: str) -> list[str]:
    listed = list(islice(source.files(patterns.folder_of(pattern)), MAX_LISTED + 1))
    if len(listed) > MAX_LISTED:
        raise InvalidData(f"there are more than {MAX_LISTED:,} files to search: begin the pattern with a folder's name")
    found = sorted(path for path in listed if patterns.matches(pattern, path))
    if not found:
        raise InvalidData(f"no file matches {pattern!r}")
    if len(found) > MAX_FILES:
        raise InvalidData(f"{len(found):,} files match {pattern!r}; at most {MAX_FILES:,} are read together")
    return found


def _download(source: Folder | ObjectStore, path: str, local: Path, taken: int, limit: int) -> FetchedFile:
    try:
        file, chunks = source.read(path)
    except FileNotFoundError:
        raise InvalidData(f"there is no file {path!r}") from None
    _check_size(taken + file.size_bytes, limit)
    digest, size = hashlib.sha256(), 0
    with local.open("wb") as target:
        for chunk in chunks:
            size += len(chunk)
            _check_size(taken + size, limit)
            digest.update(chunk)
            target.write(chunk)
    return FetchedFile(**{**dict(file), "size_bytes": size}, sha256=digest.hexdigest(), local=local)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the files have more than {limit:,} bytes, the limit of this server")
