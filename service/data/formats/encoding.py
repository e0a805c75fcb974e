"""Encoding detection and conversion to UTF-8, for the CSV and JSON Lines readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidData

CHUNK_CHARACTERS = 1 << 20
MAX_LINE_BYTES = 2_000_000

BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


@dataclass(frozen=True)
class Text:
    """A UTF-8 file with one kind of line ending, and its original encoding."""

    path: Path
    encoding: str
    warnings: tuple[str, ...] = ()


def to_utf8(source: Path, work: Path, asked: str | None = None) -> Text:
    """`source` as UTF-8 text: `source` itself if it is UTF-8 with one kind of line ending already.

    The encoding is `asked`, else UTF-8, or UTF-16 and UTF-32 by their byte order mark or zero bytes, else Windows-1252.
    A converted file is written to the folder `work`. Raises InvalidData naming the line of a NUL character, and for
    bytes that cannot be decoded.
    """
    encoding = asked or _detect(source)
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    warnings: tuple[str, ...] = ()
    try:
        endings = _line_endings(source, codec)
    except UnicodeError:
        if asked or encoding != "utf-8":
            if asked:
                raise InvalidData(f"{_first_undecodable(source, codec)} is not {asked}, as encoding= says") from None
            raise InvalidData(f"the file starts as {encoding.upper()} but goes on as something else") from None
        encoding = codec = "cp1252"
        endings = _line_endings_cp1252(source)
        warnings = ("the file is not UTF-8: it was read as Windows-1252 (cp1252); check it, or set encoding=",)
    if encoding == "utf-8" and endings <= 1:
        return Text(source, encoding, warnings)
    return Text(_rewrite(source, codec, work / "text.csv"), encoding, warnings)


def _detect(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(64)
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
    if marked:
        return marked
    zeros = [set(head[start::2]) == {0} for start in (0, 1)]
    return {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get((zeros[0], zeros[1]), "utf-8")


def _line_endings(source: Path, encoding: str) -> int:
    r"""How many kinds of line ending the text has, of \n, \r\n and \r."""
    lines = 1
    with source.open(encoding=encoding, newline=None) as file:
        while chunk := file.read(CHUNK_CHARACTERS):
            if (place := chunk.find("\0")) >= 0:
                line = lines + chunk.count("\n", 0, place)
                raise InvalidData(f"line {line} contains a NUL character: the file is not text, or damaged")
            lines += chunk.count("\n")
        return len(file.newlines) if isinstance(file.newlines, tuple) else 1


def _first_undecodable(source: Path, encoding: str) -> str:
    """The first line that cannot be decoded; for UTF-16 and UTF-32, only that there is one."""
    if not encoding.startswith(("utf-16", "utf-32")):
        with source.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode(encoding)
                except UnicodeError:
                    return f"line {number}"
    return "the file"


def _line_endings_cp1252(source: Path) -> int:
    try:
        return _line_endings(source, "cp1252")
    except UnicodeError:
        raise InvalidData("the text is neither UTF-8 nor Windows-1252: save it as UTF-8, or set encoding=") from None


def _rewrite(source: Path, encoding: str, target: Path) -> Path:
    with source.open(encoding=encoding, newline=None) as old, target.open("w", encoding="utf-8", newline="\n") as new:
        while chunk := old.read(CHUNK_CHARACTERS):
            new.write(chunk)
    return target
