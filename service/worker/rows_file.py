"""The file format of prepared rows: a line of JSON, which lists the arrays and holds the fitted preprocessing, and then
the arrays, which are mapped into memory."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service.data.preprocess.dataset import Prepared, Rows
from service.data.preprocess.preprocessing import Preprocessing
from service.data.preprocess.streamed import ArrayShape, StreamedRows
from service.spec.split import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARRAYS = ("padded", "y", "weight", "codes", "row", "truth")
STEP_ARRAYS = ("padded", "y", "weight", "codes")  # that a step of training reads
READ_BYTES = 128 * 2**10  # Linux reads no more in a call, unless the device asks for larger ones


def write(path: Path, prepared: Prepared) -> None:
    """Write rows that are in memory. Raises OSError."""
    arrays = {
        f"{part}.{name}": values
        for part in PARTS
        for name in ARRAYS
        if (values := getattr(getattr(prepared, part), name)) is not None
    }
    shapes = {name: ArrayShape(values.dtype.str, values.shape) for name, values in arrays.items()}
    header, offsets, size = _header(shapes, prepared.preprocessing)
    with path.open("wb") as file:
        file.write(header)
        for name, values in arrays.items():
            file.seek(offsets[name])
            file.write(values.reshape(-1).view(np.uint8).data)
        file.truncate(size)


def write_streamed(path: Path, rows: StreamedRows) -> None:
    """Write rows piece by piece. Raises OSError, DatasetCorrupt."""
    header, offsets, size = _header(rows.arrays, rows.preprocessing)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)
        for piece in rows.pieces():
            for name in ARRAYS:
                values = getattr(piece.rows, name)
                if values is not None:
                    data = np.ascontiguousarray(values)
                    own = data.nbytes // len(data)
                    file.seek(offsets[f"{piece.part}.{name}"] + piece.start * own)
                    file.write(data.reshape(-1).view(np.uint8).data)


def read(path: Path, *, streamed: bool = False) -> Prepared:
    """The rows, as arrays on the mapped file: pages are shared until they are written to, which copies them.

    `streamed`: the caller says which rows to read ahead; the system reads none of its own accord around those.
    """
    with path.open("rb") as file:
        line = file.readline()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header, start = json.loads(line), _whole_pages(len(line))
    preprocessing = Preprocessing.model_validate_json(header["preprocessing"])
    arrays: dict[str, Any] = {
        name: np.ndarray(own["shape"], own["dtype"], buffer=mapped, offset=start + own["offset"])
        for name, own in header["arrays"].items()
    }
    parts = []
    for part in PARTS:
        own = {name: arrays[f"{part}.{name}"] for name in ARRAYS if f"{part}.{name}" in arrays}
        places = {
            name: _Place(
                start + header["arrays"][f"{part}.{name}"]["offset"], values.nbytes, values.nbytes // len(values)
            )
            for name, values in own.items()
            if len(values)
        }
        pages = MappedPages(mapped, places) if streamed else None
        parts.append(Rows(inputs=preprocessing.layout.numbers, pages=pages, **own))
    train, validation, test = parts
    return Prepared(train, validation, test, preprocessing)


@dataclass(frozen=True)
class _Place:
    """Where an array is in the file, in bytes."""

    offset: int
    size: int
    row_size: int


class MappedPages:
    """The pages of a row set's arrays in a mapped file; see Pages."""

    def __init__(self, mapped: mmap.mmap, places: Mapping[str, _Place]) -> None:
        self._mapped, self._places = mapped, places
        for name in ("padded", "codes"):
            if name in places:  # a fault in a block would read megabytes around it, which are not needed yet
                mapped.madvise(mmap.MADV_RANDOM, places[name].offset, places[name].size)

    def read_ahead(self, first: int, end: int) -> None:
        """See Pages."""
        for name in STEP_ARRAYS:
            if name not in self._places:
                continue
            place = self._places[name]
            start, stop = place.offset + first * place.row_size, place.offset + end * place.row_size
            for at in range(start - start % mmap.PAGESIZE, stop, READ_BYTES):
                self._mapped.madvise(mmap.MADV_WILLNEED, at, min(READ_BYTES, stop - at))

    def release(self) -> None:
        """See Pages. They stay in the page cache as long as the system has room."""
        for place in self._places.values():
            self._mapped.madvise(mmap.MADV_DONTNEED, place.offset, place.size)


def _header(shapes: Mapping[str, ArrayShape], preprocessing: Preprocessing) -> tuple[bytes, dict[str, int], int]:
    """The first line, the place of each array in the file, and the size of the file."""
    listed: dict[str, Any] = {}
    end = 0
    for name, own in shapes.items():
        listed[name] = {"dtype": own.dtype, "shape": own.shape, "offset": end}
        end += _whole_pages(own.nbytes)
    line = json.dumps({"arrays": listed, "preprocessing": preprocessing.model_dump_json()}).encode() + b"\n"
    start = _whole_pages(len(line))
    return line, {name: start + own["offset"] for name, own in listed.items()}, start + end


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
