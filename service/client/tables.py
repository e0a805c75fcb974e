"""What a person calls data, as a file that the service reads: a path, bytes, a data frame, or arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1024**2


def as_file(data: Any) -> tuple[Any, str | None]:
    """(the bytes or pieces of them, a name).

    `data`: a path; bytes; a pandas or polars DataFrame; a 2-d array; or (X, y), whose columns are x0, x1, ... and y.
    """
    if isinstance(data, str | Path):
        path = Path(data)
        return _Pieces(path), path.name
    if isinstance(data, bytes):
        return data, None
    if hasattr(data, "write_csv"):  # polars
        return data.write_csv().encode(), None
    if hasattr(data, "to_csv"):  # pandas
        return data.to_csv(index=False).encode(), None
    return _arrays(data), None


def _arrays(data: Any) -> bytes:
    import numpy as np

    file = io.BytesIO()
    if isinstance(data, tuple):
        x, y = (np.asarray(part) for part in data)
        np.savez(file, x=x, y=y.astype(str) if y.dtype == object else y)
    else:
        np.save(file, np.asarray(data))
    return file.getvalue()


class _Pieces:
    """A file's bytes piece by piece, from the start each time they are asked for: a try may have to be repeated."""

    def __init__(self, path: Path) -> None:
        path.stat()  # a file that is not there is said at once
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece
