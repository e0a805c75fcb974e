"""The files of a declared folder, without following links out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from service.connections.messages import SourceFile
from service.errors import InvalidData, SourceError

CHUNK_BYTES = 1024**2


class Folder:
    """A folder as a store of files."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def test(self) -> None:
        """Raise SourceError unless the folder can be listed."""
        try:
            next(os.scandir(self._root), None)
        except OSError as error:
            raise SourceError(f"the folder of the connection cannot be read: {error.strerror}") from None

    def files(self, folder: str) -> Iterator[str]:
        """Paths of all files below `folder`, which ends in a slash or is empty; links to folders are not followed."""
        for place, _, names in os.walk(self._root / folder):
            yield from ((Path(place) / name).relative_to(self._root).as_posix() for name in names)

    def read(self, path: str) -> tuple[SourceFile, Iterator[bytes]]:
        """A file and its bytes; raises FileNotFoundError, also for a link that leads out of the folder, and InvalidData
        for a folder in it.
        """
        place = (self._root / path).resolve()
        if place.is_relative_to(self._root) and place.is_dir():
            raise InvalidData(f"{path!r} is a folder: for all of its files, {path}/*")
        if not place.is_relative_to(self._root) or not place.is_file():
            raise FileNotFoundError(path)
        stat = place.stat()
        modified = datetime.fromtimestamp(stat.st_mtime, UTC)
        return SourceFile(path=path, size_bytes=stat.st_size, modified_at=modified), _chunks(place)


def _chunks(place: Path) -> Iterator[bytes]:
    with place.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
