"""How an uploaded file is to be read, and how it was."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from service.spec.base import OpenEnum, Strict, known

DEFAULT_NULL_VALUES: tuple[str, ...] = (
    *("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN"),
    *("null", "NULL", "Null", "None", "none", "?"),
)
"""Texts that mean a missing value in CSV."""


class FileFormat(OpenEnum):
    """What a file can be."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    npz = "npz"
    npy = "npy"
    images = "images"


KnownFormat = Annotated[FileFormat, AfterValidator(known)]
Encoding = Literal[
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1",
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "koi8-r",
    "shift_jis", "euc_jp", "euc_kr", "gb18030", "big5",
]  # fmt: skip
Decimal = Literal[".", ","]
Delimiter = Annotated[str, StringConstraints(pattern=r"^[\x01-\x09\x0b\x0c\x0e-!#-\x7f]$")]
Quote = Annotated[str, StringConstraints(pattern=r"^[!-/:-@\[-`{-~]?$")]
DateFormat = Annotated[str, StringConstraints(min_length=2, max_length=100, pattern=r"^[^\x00-\x1f]*%[^\x00-\x1f]*$")]
ImageShape = Annotated[str, StringConstraints(pattern=r"^[13]x[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")]


class ReadOptions(Strict):
    """What a client says of a file; what is null is found by looking at it."""

    format: KnownFormat | None = None
    """What the file is."""
    encoding: Encoding | None = None
    """How its text is encoded."""
    delimiter: Delimiter | None = None
    """What separates the values of a CSV line."""
    quote: Quote | None = None
    """What stands around a CSV value that holds the delimiter; empty: nothing does."""
    header: bool | None = None
    """Whether the first CSV line names the columns."""
    decimal: Decimal | None = None
    """The decimal sign of a CSV file's numbers."""
    date_format: DateFormat | None = None
    """How dates are written, e.g. `%d.%m.%Y`; a time of day may follow."""
    null: Annotated[list[str], Field(max_length=100)] | None = None
    """Texts that mean a missing value; null: the usual ones in CSV, none elsewhere."""
    shape: ImageShape | None = None
    """What images become, as CHANNELSxHEIGHTxWIDTH; 1 channel is grey, 3 are red, green and blue."""


class ReadAs(Strict):
    """How a file was read; null where a format knows no such thing."""

    format: FileFormat
    """What the file is."""
    compression: str | None = None
    """What the file was packed with: `gzip` or `zstd`."""
    encoding: str | None = None
    """How its text is encoded."""
    delimiter: str | None = None
    """What separates the values of a line."""
    quote: str | None = None
    """What stands around a value that holds the delimiter."""
    header: bool | None = None
    """Whether the first line names the columns."""
    decimal: str | None = None
    """The decimal sign."""
    date_format: str | None = None
    """How dates are written; null where they are written as ISO 8601 has it, or there are none."""
    index_column: str | None = None
    """Name given to a first column that has none in the file: a row index, which is no feature unless named."""
    skipped_lines: int | None = None
    """Lines above the column names that were skipped: titles, or a `sep=` line; null where there are none."""
    arrays: dict[str, str] | None = None
    """Which array of the file is `x` and which is `y`."""
    shape: list[int] | None = None
    """Shape of one row of `x`, which fills the columns x0, x1, ... in row-major order."""
