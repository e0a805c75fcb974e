"""Zip archives from untrusted sources: members are validated and extracted within limits."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.data.staging import ReadLimits
from service.errors import InvalidData, TooLarge
from service.spec.read_options import FileFormat

SUFFIX = ".npy"
MAX_ARRAYS = 1_000
MAX_DIRECTORY_BYTES = 32 * 2**20
CHUNK_BYTES = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def zip_format(source: Path) -> FileFormat:
    """NPZ if a member is an NPY file, else images. Raises InvalidData for a damaged archive."""
    with open_zip(source) as archive:
        arrays = any(name.endswith(SUFFIX) for name in archive.namelist())
    return FileFormat.npz if arrays else FileFormat.images


@contextmanager
def open_zip(source: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. Raises InvalidData for one that is damaged, lists too many members, or is a workbook."""
    with _BoundedFile(source) as file:
        with _faults("the zip archive"):
            archive = zipfile.ZipFile(file)
        if "xl/workbook.xml" in archive.namelist():
            raise InvalidData("the file is an Excel workbook: save the sheet as CSV")
        yield archive


def check_members(members: Iterable[zipfile.ZipInfo]) -> None:
    """Raise InvalidData for members that are encrypted, compressed by other than deflate, or duplicated."""
    names = set[str]()
    for info in members:
        name = info.orig_filename
        if info.flag_bits & 1 or info.compress_type not in METHODS:
            raise InvalidData(f"{name[:100]!r} in the zip archive is encrypted, or compressed by other than deflate")
        if name in names:
            raise InvalidData(f"{name[:100]!r} is duplicated in the zip archive")
        names.add(name)


def check_size(members: Iterable[zipfile.ZipInfo], what: str, limits: ReadLimits) -> None:
    """Raise TooLarge if the members, called `what` in the message, decompress beyond the limit."""
    size = sum(info.file_size for info in members)
    if size > limits.unpacked_bytes:
        raise TooLarge(f"the {what} decompress to {size:,} bytes; at most {limits.unpacked_bytes:,} are read here")


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member, at most its declared size; raises InvalidData if they are damaged."""
    with _faults(f"{info.orig_filename[:100]!r} in the zip archive"), archive.open(info) as inside:
        return b"".join(iter(lambda: inside.read(CHUNK_BYTES), b""))


def extract(
    source: Path, work: Path, wanted: Mapping[str, Sequence[str]], limits: ReadLimits
) -> tuple[dict[str, str], list[str]]:
    """Write the NPY members of an NPZ file to ROLE.npy in `work`: ({role: array name}, names of the others).

    `wanted`: the names that the array of each role may have. Raises InvalidData for a damaged NPZ file, and for several
    arrays of one role; TooLarge if the arrays exceed the limits.
    """
    with open_zip(source) as archive:
        members = _arrays(archive.infolist())
        chosen: dict[str, str] = {}
        for role, names in wanted.items():
            found = [name for name in names if name in members]
            if len(found) > 1:
                raise InvalidData(f"the arrays {' and '.join(map(repr, found))} could each be {role}: keep one")
            if found:
                chosen[role] = found[0]
        check_size((members[name] for name in chosen.values()), "arrays", limits)
        for role, name in chosen.items():
            with (
                _faults("the zip archive"),
                archive.open(members[name]) as inside,
                (work / f"{role}{SUFFIX}").open("wb") as out,
            ):
                shutil.copyfileobj(inside, out, CHUNK_BYTES)
    return chosen, sorted(members.keys() - {*chosen.values()})


def _arrays(members: Sequence[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The members by their arrays' names."""
    if len(members) > MAX_ARRAYS:
        raise InvalidData(f"the zip archive has more than {MAX_ARRAYS:,} members")
    for info in members:
        name = info.orig_filename
        if any(c in name for c in "/\\\0:") or not name.endswith(SUFFIX) or name.startswith(".."):
            raise InvalidData(f"the zip archive holds {name[:100]!r}: an NPZ file holds arrays NAME.npy and no folders")
    check_members(members)
    return {info.orig_filename.removesuffix(SUFFIX): info for info in members}


class _OutsideError(OSError, zipfile.BadZipFile):
    """A seek out of range: zipfile handles OSError, and `_faults` handles BadZipFile."""


class _BoundedFile(io.FileIO):
    """A file with a limit on each read: zipfile would read a central directory of any size at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise InvalidData(f"the zip archive's list of members is longer than {MAX_DIRECTORY_BYTES:,} bytes")
        return super().read(size) or b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            raise _OutsideError("an offset is out of range") from None


@contextmanager
def _faults(what: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError) as error:
        raise InvalidData(f"{what} is damaged: {error}") from None
