"""An upload in parts: a file that is uploaded piece by piece, and may be resumed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from service.spec.base import FrozenModel
from service.spec.read_options import ReadOptions

MAX_PARTS = 1_000


class Upload(FrozenModel):
    """A file that is uploaded in parts, until it becomes a data set or expires."""

    id: str
    """The upload's id."""
    object: Literal["upload"] = "upload"
    """What this JSON object is."""
    name: str | None
    """Name of the data set to be."""
    size_bytes: int
    """Size of the whole file."""
    sha256: str | None
    """SHA-256 of the whole file, if the client gave it: the parts together must have it."""
    options: ReadOptions
    """How the file is to be read."""
    part_bytes: int
    """Size of each part but the last one."""
    dataset_id: str | None
    """Id of the data set that the upload became; null: it is not complete."""
    created_at: datetime
    """When it was started (UTC)."""
    expires_at: datetime
    """After this time it is deleted, unless it has been started again with the same SHA-256 (UTC)."""

    @property
    def part_sizes(self) -> dict[int, int]:
        """Sizes in bytes of the parts by number, from 1."""
        whole, rest = divmod(self.size_bytes, self.part_bytes)
        sizes = [self.part_bytes] * whole + ([rest] if rest else [])
        return dict(enumerate(sizes, 1))

    def key(self, part: int) -> str:
        """The artifact key of a part."""
        return f"uploads/{self.id}/{part:05}"


def part_number(key: str) -> int:
    """The number of the part with this artifact key, 0 for what is no part."""
    name = key.rpartition("/")[2]
    return int(name) if name.isascii() and name.isdecimal() else 0


def part_bytes(size_bytes: int, smallest: int) -> int:
    """Size of the parts of a file of this size: `smallest`, or more where there would be too many."""
    return max(smallest, -(-size_bytes // MAX_PARTS))
