"""Read options: how a file is to be read, and the record of how it was read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from service.spec.base import OpenEnum, Strict, known

DEFAULT_NULL_VALUES: tuple[str, ...] = (
    *("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN"),
    *("null", "NULL", "Null", "None", "none", "?"),
)
"""Default null values in CSV."""


class FileFormat(OpenEnum):
    """Supported file formats."""

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
    """Options of the client; what is null is detected."""

    format: KnownFormat | None = None
    """File format."""
    encoding: Encoding | None = None
    """Text encoding."""
    delimiter: Delimiter | None = None
    """Delimiter of CSV values."""
    quote: Quote | None = None
    """Quote character of CSV values; empty: values are not quoted."""
    header: bool | None = None
    """Whether the first CSV line has the column names; `true` also keeps a title line as the header."""
    decimal: Decimal | None = None
    """Decimal sign of numbers in CSV; with `.`, a comma between groups of three digits separates thousands."""
    date_format: DateFormat | None = None
    """Date format, e.g. `%d.%m.%Y`; a time of day may follow."""
    null: Annotated[list[str], Field(max_length=100)] | None = None
    """Texts that represent a missing value; null: the usual ones in CSV, none in other formats."""
    shape: ImageShape | None = None
    """Shape to resize images to, as CHANNELSxHEIGHTxWIDTH; 1 channel is greyscale, 3 are RGB."""


class ReadAs(Strict):
    """How a file was read; null where the format has no such property."""

    format: FileFormat
    """File format."""
    compression: str | None = None
    """Compression: `gzip` or `zstd`."""
    encoding: str | None = None
    """Text encoding."""
    delimiter: str | None = None
    """Delimiter of CSV values."""
    quote: str | None = None
    """Quote character of CSV values."""
    header: bool | None = None
    """Whether there is a line of column names."""
    decimal: str | None = None
    """Decimal sign of numbers."""
    date_format: str | None = None
    """Date format; null for ISO 8601, or if there are no dates."""
    index_column: str | None = None
    """Name given to a first column that has none in the file: a row index, which is no feature unless named."""
    skipped_lines: int | None = None
    """Lines above the column names that were skipped: titles, or a `sep=` line; null where there are none."""
    arrays: dict[str, str] | None = None
    """Names of the arrays that are `x` and `y`."""
    shape: list[int] | None = None
    """Shape of one row of `x`, which fills the columns x0, x1, ... in row-major order."""
