"""Lists as CSV: whether a client prefers it, and the rows as a download."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Accept = Annotated[str, Header(description="`text/csv` gives every row as a table.")]
CSV = {"text/csv": {"schema": {"type": "string"}}}


def prefers_csv(accept: str) -> bool:
    """Whether the header names CSV with a higher weight than JSON, or with the same but first."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights.setdefault(media_type, float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0)
    types = sorted(weights, key=lambda media_type: -weights[media_type])
    return weights.get("text/csv", 0.0) > 0 and "application/json" not in types[: types.index("text/csv")]


def as_csv(pages: Iterable[Iterable[Sequence[Any]]], filename: str) -> StreamingResponse:
    """The rows, a page at a time; `pages`: lists of rows, the first row being the header."""
    headers = {"Content-Disposition": f'attachment; filename="{filename}"', "Vary": "Accept"}
    return StreamingResponse(map(_text, pages), headers=headers, media_type="text/csv")


def _text(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
