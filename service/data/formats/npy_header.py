"""NPY header parser for untrusted files: matched by a pattern and checked against the file size.

NumPy's own reader parses the header as a Python literal and allocates whatever shape it claims.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from service.errors import InvalidData

MAX_HEADER_BYTES = 10_000
MAX_DIMENSIONS = 32
MAX_TEXT = 1_000
_FIELD = re.compile(
    r"\s*'(?P<key>descr|fortran_order|shape)'\s*:\s*"
    r"(?P<value>'[^']{1,20}'|True|False|\([\d ,]*\))\s*(?:,|(?=\}))"
)
_PLAIN = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|U\d{1,6}|S\d{1,6})")


@dataclass(frozen=True)
class NpyArray:
    """An array in an NPY file as its header describes it; the values follow the header."""

    name: str  # for messages
    dtype: np.dtype[np.generic]
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int  # of the first value, in bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: BinaryIO, name: str, size: int) -> NpyArray:
    """Parse the header of an NPY file of `size` bytes, from the position of `file` on; leaves it at the first value.

    Raises InvalidData, with the array's `name`, for headers that are damaged, forged, or of object arrays.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise InvalidData(f"{name} is no NPY file of version 1, 2 or 3")
    width = 2 if start[6] == 1 else 4
    length_bytes = file.read(width)
    length = struct.unpack("<H" if width == 2 else "<I", length_bytes)[0] if len(length_bytes) == width else 0
    if length > MAX_HEADER_BYTES:
        raise InvalidData(f"{name}: the header claims {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
    header = file.read(length).decode("utf-8" if start[6] == 3 else "latin-1", errors="replace")
    fields = _fields(header, name)
    shape = _shape(fields["shape"], name)
    dtype = _dtype(fields["descr"], name)
    array = NpyArray(name, dtype, fields["fortran_order"] == "True", shape, 8 + width + length)
    rest = size - array.offset
    if array.size_bytes != rest:
        told = f"{array.size_bytes:,} bytes (shape {shape})"
        raise InvalidData(f"{name}: the header tells of {told}, but {rest:,} follow")
    return array


def _fields(header: str, name: str) -> dict[str, str]:
    inside = header.strip()
    if re.search(r"'descr'\s*:\s*\[", inside):
        raise InvalidData(f"{name} is a structured array; only plain numbers and texts can be read")
    fields: dict[str, str] = {}
    place = 1
    while match := _FIELD.match(inside, place):
        fields[match["key"]] = match["value"]
        place = match.end()
    right = {"descr": "'", "fortran_order": "TF", "shape": "("}
    whole = inside[:1] == "{" and inside[place:].strip() == "}" and fields.keys() == right.keys()
    if not whole or any(fields[key][0] not in first for key, first in right.items()):
        raise InvalidData(f"{name}: the header is damaged: {header[:60]!r}")
    return fields


def _shape(text: str, name: str) -> tuple[int, ...]:
    numbers = text.strip("() ").removesuffix(",")
    parts = [part.strip() for part in numbers.split(",")] if numbers else []
    if len(parts) > MAX_DIMENSIONS or not all(part.isdecimal() and len(part) <= 18 for part in parts):
        raise InvalidData(f"{name}: the header tells of an impossible shape: {text[:60]}")
    return tuple(map(int, parts))


def _dtype(descr: str, name: str) -> np.dtype[np.generic]:
    text = descr.strip("'")
    if "O" in text:
        raise InvalidData(f"{name} holds Python objects, which are never unpickled: save numbers or texts")
    if not _PLAIN.fullmatch(text):
        raise InvalidData(f"{name} has the dtype {text!r}; booleans, integers, floats up to 64 bits and texts are read")
    dtype: np.dtype[np.generic] = np.dtype(text)
    if dtype.kind in "US" and not 0 < dtype.itemsize <= 4 * MAX_TEXT:
        raise InvalidData(f"{name} has texts of the dtype {text!r}; at most {MAX_TEXT:,} characters are read")
    return dtype
