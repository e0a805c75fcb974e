"""File format detection (sniffing): by magic numbers, then by the first characters; never by the name."""

from __future__ import annotations

from pathlib import Path

from service.data.formats.zip_archive import zip_format
from service.errors import InvalidData
from service.spec.read_options import FileFormat

SHAPE_CHARACTERS = 1 << 16

BINARY = {
    b"PAR1": FileFormat.parquet,
    b"\x93NUMPY": FileFormat.npy,
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
ZIPPED = (FileFormat.npz, FileFormat.images)
REFUSED = {
    b"ARROW1": "an Arrow file: save the table as Parquet or CSV",
    b"PARE": "an encrypted Parquet file: save it without encryption",
    b"BZh": "bzip2-compressed: upload it unpacked, or packed with gzip or zstd",
    b"\xfd7zXZ\x00": "xz-compressed: upload it unpacked, or packed with gzip or zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: upload it unpacked",
    b"Rar!": "a RAR archive: upload it unpacked",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\x89HDF": "an HDF5 file: save the table as Parquet or CSV",
    b"SQLite format 3": "a SQLite database: save the table as CSV",
    b"%PDF": "a PDF document: save the table as CSV",
    b"\x80\x04\x95": "a Python pickle, which is never opened: save the table as Parquet or CSV",
    b"\x80\x05\x95": "a Python pickle, which is never opened: save the table as Parquet or CSV",
    b"\x89PNG": "a single PNG image: zip folders of images, a folder a class",
    b"\xff\xd8\xff": "a single JPEG image: zip folders of images, a folder a class",
}


def binary_format(source: Path, asked: FileFormat | None) -> FileFormat | None:
    """The format by the magic number, None for text.

    Raises InvalidData for an empty file, an unsupported format, and if the bytes contradict `asked`.
    """
    with source.open("rb") as file:
        head = file.read(16)
    if not head:
        raise InvalidData("the file is empty")
    for magic, what in REFUSED.items():
        if head.startswith(magic):
            raise InvalidData(f"the file is {what}")
    found: FileFormat | None
    if head.startswith(ZIP):
        found, what = (asked if asked in ZIPPED else zip_format(source)), "a zip archive"
    else:
        found = next((name for magic, name in BINARY.items() if head.startswith(magic)), None)
        what = "text" if found is None else found.value
    if asked is not None and asked != found and (found is not None or asked in {*BINARY.values(), *ZIPPED}):
        raise InvalidData(f"format={asked.value} was asked for, but the file's first bytes are those of {what}")
    return found


def text_format(text: Path) -> FileFormat:
    """JSON Lines where the first line of the UTF-8 file `text` begins a JSON object, else CSV.

    Raises InvalidData for a JSON array.
    """
    with text.open(encoding="utf-8-sig") as file:
        first = file.read(SHAPE_CHARACTERS).lstrip()
    if first.startswith("{") and first[1:].lstrip()[:1] in ('"', "}", ""):
        return FileFormat.jsonl
    if first.startswith("[") and first[1:].lstrip()[:1] in ("{", "["):
        raise InvalidData("the file is a JSON array: write one JSON object a line instead (JSON Lines)")
    return FileFormat.csv
