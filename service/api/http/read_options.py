"""Query parameters of an upload: how to read the file."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from service.spec.read_options import (
    DateFormat,
    Decimal,
    Delimiter,
    Encoding,
    ImageShape,
    KnownFormat,
    Quote,
    ReadOptions,
)


def _options(
    format: Annotated[  # noqa: A002
        KnownFormat | None, Query(description="File format; default: detected.")
    ] = None,
    encoding: Annotated[Encoding | None, Query(description="Text encoding; default: detected.")] = None,
    delimiter: Annotated[
        Delimiter | None, Query(description="CSV delimiter, `%09` for a tab; default: detected.")
    ] = None,
    quote: Annotated[
        Quote | None,
        Query(description="CSV quote character; empty: none; default: detected."),
    ] = None,
    header: Annotated[
        bool | None, Query(description="Whether the first CSV line names the columns; default: detected.")
    ] = None,
    decimal: Annotated[Decimal | None, Query(description="Decimal separator in CSV; default: detected.")] = None,
    date_format: Annotated[
        DateFormat | None,
        Query(description="Date format, e.g. `%d.%m.%Y`; a time of day may follow; default: detected."),
    ] = None,
    null: Annotated[
        list[Annotated[str, Query(max_length=100)]] | None,
        Query(max_length=100, description="A text that means a missing value; may be repeated. Replaces the defaults."),
    ] = None,
    shape: Annotated[
        ImageShape | None,
        Query(
            description="Shape of images, as CHANNELSxHEIGHTxWIDTH, e.g. `1x28x28` for grey or `3x32x32` for color;"
            " default: grey if all are, their median size, at most 10,000 values."
        ),
    ] = None,
) -> ReadOptions:
    return ReadOptions(
        format=format,
        encoding=encoding,
        delimiter=delimiter,
        quote=quote,
        header=header,
        decimal=decimal,
        date_format=date_format,
        null=None if null is None else sorted(set(null)),
        shape=shape,
    )


Options = Annotated[ReadOptions, Depends(_options)]
