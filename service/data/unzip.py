"""Files out of a stranger's zip archive: those of known names alone, no more bytes than are allowed."""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.data.staging import Limits
from service.errors import InvalidData, TooLarge

SUFFIX = ".npy"
MAX_MEMBERS = 1_000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def extract(
    source: Path, work: Path, wanted: Mapping[str, Sequence[str]], limits: Limits
) -> tuple[dict[str, str], list[str]]:
    """Write the NPY members of an NPZ file to ROLE.npy in `work`: ({role: the array's name}, names of the others).

    `wanted`: for each role, the names that its array may have. Raises InvalidData for what is no sound NPZ file, and
    for several arrays of one role; TooLarge where the arrays hold more than the limits allow.
    """
    with _faults(), zipfile.ZipFile(source) as archive:
        members = _members(archive)
        chosen: dict[str, str] = {}
        for role, names in wanted.items():
            found = [name for name in names if name in members]
            if len(found) > 1:
                raise InvalidData(f"the arrays {' and '.join(map(repr, found))} could each be {role}: keep one")
            if found:
                chosen[role] = found[0]
        size = sum(members[name].file_size for name in chosen.values())
        if size > limits.unpacked_bytes:
            raise TooLarge(f"the arrays unpack to {size:,} bytes; at most {limits.unpacked_bytes:,} are read here")
        for role, name in chosen.items():
            with archive.open(members[name]) as inside, (work / f"{role}{SUFFIX}").open("wb") as out:
                shutil.copyfileobj(inside, out, 1 << 20)
    return chosen, sorted(members.keys() - {*chosen.values()})


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by their arrays' names."""
    members: dict[str, zipfile.ZipInfo] = {}
    if "xl/workbook.xml" in archive.namelist():
        raise InvalidData("the file is an Excel workbook: save the sheet as CSV")
    if len(archive.infolist()) > MAX_MEMBERS:
        raise InvalidData(f"the zip archive has more than {MAX_MEMBERS:,} members")
    for info in archive.infolist():
        name = info.orig_filename
        if any(c in name for c in "/\\\0:") or not name.endswith(SUFFIX) or name.startswith(".."):
            raise InvalidData(f"the zip archive holds {name[:100]!r}: an NPZ file holds arrays NAME.npy and no folders")
        if info.flag_bits & 1 or info.compress_type not in METHODS:
            raise InvalidData(f"{name[:100]!r} in the zip archive is encrypted, or compressed by other than deflate")
        if name.removesuffix(SUFFIX) in members:
            raise InvalidData(f"{name[:100]!r} stands twice in the zip archive")
        members[name.removesuffix(SUFFIX)] = info
    return members


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError) as error:
        raise InvalidData(f"the zip archive is damaged: {error}") from None
