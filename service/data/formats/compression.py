"""Packed uploads: gzip or zstd -> the file inside, never more of it than is allowed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

from backports import zstd

from service.errors import InvalidData, TooLarge

CHUNK_BYTES = 1 << 20
MAX_WINDOW_LOG = 27  # 128 MiB, what the zstd tool allows too: a frame may ask for as much memory

Compression = Literal["gzip", "zstd"]
MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def unpack(source: Path, work: Path, most_bytes: int) -> tuple[Path, Compression | None]:
    """(the file inside `source`, how it was packed): `source` itself and None if it is not packed.

    Writes to the folder `work`. Raises InvalidData for broken or twice packed files, TooLarge past `most_bytes`.
    """
    packed = compression_of(source)
    if packed is None:
        return source, None
    target = work / "unpacked"
    size = 0
    with _faults(packed), _open(source, packed) as inside, target.open("wb") as out:
        while chunk := inside.read(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise TooLarge(f"the file unpacks to more than {most_bytes:,} bytes, the most that is read here")
            out.write(chunk)
    if compression_of(target) is not None:
        raise InvalidData("the file is packed more than once: unpack it")
    return target, packed


def compression_of(source: Path) -> Compression | None:
    """How the file is packed, by its first bytes."""
    with source.open("rb") as file:
        head = file.read(4)
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class _Inside(Protocol):
    """A file open for reading."""

    def read(self, size: int, /) -> bytes: ...


def _open(source: Path, packed: Compression) -> AbstractContextManager[_Inside]:
    if packed == "gzip":
        return gzip.open(source)
    return zstd.open(source, options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


@contextmanager
def _faults(packed: Compression) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise InvalidData(f"the {packed} file is cut off: its end is missing") from None
    except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise InvalidData(f"the {packed} file is damaged: {error}") from None
