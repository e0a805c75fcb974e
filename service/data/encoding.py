"""Uploaded bytes -> UTF-8 text that the CSV reader takes, or a sentence saying what the bytes are instead."""

from __future__ import annotations

from pathlib import Path

from service.errors import InvalidData

CHUNK_CHARACTERS = 1 << 20

MAGIC = {
    b"\x1f\x8b": "gzip-compressed: upload it unpacked",
    b"PK\x03\x04": "a zip archive or an Excel workbook: upload it unpacked, or save the sheet as CSV",
    b"PAR1": "a Parquet file: save the table as CSV",
    b"ARROW1": "an Arrow file: save the table as CSV",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: upload it unpacked",
    b"BZh": "bzip2-compressed: upload it unpacked",
    b"\xfd7zXZ\x00": "xz-compressed: upload it unpacked",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: upload it unpacked",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"\x89HDF": "an HDF5 file: save the table as CSV",
    b"SQLite format 3": "a SQLite database: save the table as CSV",
    b"%PDF": "a PDF document: save the table as CSV",
}
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def as_utf8(source: Path, work: Path) -> tuple[Path, list[str]]:
    """(a file of the same text in UTF-8 with one kind of line ending, warnings): `source` itself if it is that already.

    Reads UTF-8, UTF-16 and UTF-32 by their byte order mark, and anything else as Windows-1252. A new file is written
    to the folder `work`. Raises InvalidData for an empty or binary file and for NUL characters.
    """
    with source.open("rb") as file:
        head = file.read(16)
    if not head:
        raise InvalidData("the file is empty")
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            raise InvalidData(f"the file is {what}")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8-sig")
    warnings = []
    try:
        endings = _line_endings(source, encoding)
    except UnicodeError:
        if encoding != "utf-8-sig":
            raise InvalidData(f"the file starts as {encoding.upper()} but goes on as something else") from None
        encoding, endings = "cp1252", _line_endings_of_windows_text(source)
        warnings.append("the file is not UTF-8: it was read as Windows-1252 (cp1252); look at accented letters")
    if encoding == "utf-8-sig" and endings <= 1:
        return source, warnings
    return _rewrite(source, encoding, work / "text.csv"), warnings


def _line_endings(source: Path, encoding: str) -> int:
    r"""How many kinds of line ending the text has, of \n, \r\n and \r."""
    lines = 1
    with source.open(encoding=encoding, newline=None) as file:
        while chunk := file.read(CHUNK_CHARACTERS):
            if (place := chunk.find("\0")) >= 0:
                line = lines + chunk.count("\n", 0, place)
                raise InvalidData(f"line {line} holds a NUL character: this is not a text file, or a damaged one")
            lines += chunk.count("\n")
        return len(file.newlines) if isinstance(file.newlines, tuple) else 1


def _line_endings_of_windows_text(source: Path) -> int:
    try:
        return _line_endings(source, "cp1252")
    except UnicodeError:
        raise InvalidData("the text is neither UTF-8 nor Windows-1252: save it as UTF-8") from None


def _rewrite(source: Path, encoding: str, target: Path) -> Path:
    with source.open(encoding=encoding, newline=None) as old, target.open("w", encoding="utf-8", newline="\n") as new:
        while chunk := old.read(CHUNK_CHARACTERS):
            new.write(chunk)
    return target
