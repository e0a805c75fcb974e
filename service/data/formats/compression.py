"""Decompression of uploads: gzip and zstd, with a limit on the decompressed size."""

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
MAX_WINDOW_LOG = 27  # 128 MiB, the default limit of the zstd tool: a frame may require that much memory

Compression = Literal["gzip", "zstd"]
MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def decompress(source: Path, work: Path, most_bytes: int) -> tuple[Path, Compression | None]:
    """(decompressed file, compression): `source` itself and None if it is not compressed.

    Writes to the folder `work`. Raises InvalidData for damaged or doubly compressed files, TooLarge past `most_bytes`.
    """
    compressed = compression_of(source)
    if compressed is None:
        return source, None
    target = work / "uncompressed"
    size = 0
    with _faults(compressed), _open(source, compressed) as inside, target.open("wb") as out:
        while chunk := inside.read(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise TooLarge(f"the file decompresses to more than {most_bytes:,} bytes, the most that is read here")
            out.write(chunk)
    if compression_of(target) is not None:
        raise InvalidData("the file is compressed more than once: decompress it")
    return target, compressed


def compression_of(source: Path) -> Compression | None:
    """The compression, by the magic number."""
    with source.open("rb") as file:
        head = file.read(4)
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class _Readable(Protocol):
    """A file open for reading."""

    def read(self, size: int, /) -> bytes: ...


def _open(source: Path, compressed: Compression) -> AbstractContextManager[_Readable]:
    if compressed == "gzip":
        return gzip.open(source)
    return zstd.open(source, options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


@contextmanager
def _faults(compressed: Compression) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise InvalidData(f"the {compressed} file is cut off: its end is missing") from None
    except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise InvalidData(f"the {compressed} file is damaged: {error}") from None
