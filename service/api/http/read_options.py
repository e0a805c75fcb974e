"""What an upload's query says of how the file is to be read."""

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
        KnownFormat | None, Query(description="What the file is; left out: found by its bytes.")
    ] = None,
    encoding: Annotated[Encoding | None, Query(description="How the text is encoded; left out: found.")] = None,
    delimiter: Annotated[
        Delimiter | None, Query(description="What separates a CSV line's values, `%09` for a tab; left out: found.")
    ] = None,
    quote: Annotated[
        Quote | None,
        Query(description="What stands around a CSV value with the delimiter in it; empty: nothing; left out: found."),
    ] = None,
    header: Annotated[
        bool | None, Query(description="Whether the first CSV line names the columns; left out: found.")
    ] = None,
    decimal: Annotated[Decimal | None, Query(description="The decimal sign in CSV; left out: found.")] = None,
    date_format: Annotated[
        DateFormat | None,
        Query(description="How dates are written, e.g. `%d.%m.%Y`; a time of day may follow; left out: found."),
    ] = None,
    null: Annotated[
        list[Annotated[str, Query(max_length=100)]] | None,
        Query(max_length=100, description="A text that means a missing value; repeat it. Replaces the usual ones."),
    ] = None,
    shape: Annotated[
        ImageShape | None,
        Query(
            description="What images become, as CHANNELSxHEIGHTxWIDTH, e.g. `1x28x28` for grey or `3x32x32` for colour;"
            " left out: grey if all are, their median size, and no more than 10,000 values."
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
