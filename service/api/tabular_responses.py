"""Lists as CSV or Parquet downloads: content negotiation by `Accept`, and streaming of all rows."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header
from starlette.responses import StreamingResponse

from service.api import expensive_work
from service.api.http.ranges import CSV, JSON, PARQUET, whole
from service.concurrency.cancellation import current
from service.data.csv_injection import escape_formula
from service.data.processes.write_parquet import write_rows
from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from starlette.requests import Request

    from service.api.context import AppState, RequestContext
    from service.data.processes.write_parquet import Kind

Accept = Annotated[str, Header(description=f"`{CSV}` or `{PARQUET}` returns all rows as a table.")]
TABULAR_CONTENT: dict[str, Any] = {
    CSV: {"schema": {"type": "string"}},
    PARQUET: {"schema": {"type": "string", "format": "binary"}},
}
"""Media types of responses besides JSON, for the OpenAPI document."""


@dataclass(frozen=True)
class TabularData:
    """Columns, and rows in pages; `name`: the file name without suffix."""

    name: str
    columns: dict[str, Kind]
    pages: Iterable[Iterable[Sequence[Any]]]


def preferred(accept: str) -> str:
    """The one of JSON, CSV and Parquet with the highest weight, the first of equals; JSON if `accept` names none."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights.setdefault(media_type, float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0)
    known = (name for name in sorted(weights, key=lambda name: -weights[name]) if name in (JSON, CSV, PARQUET))
    return next((name for name in known if weights[name] > 0), JSON)


def as_csv(table: TabularData) -> StreamingResponse:
    """Stream all rows as CSV while they are read."""
    return StreamingResponse(map(_lines, csv_rows(table)), headers=_headers(table, "csv"), media_type=CSV)


async def as_file(
    table: Callable[[], TabularData], media_type: str, context: RequestContext, request: Request
) -> StreamingResponse:
    """All rows as CSV or Parquet, written to disk first and sent from there, so that slow clients hold no memory."""

    def written() -> tuple[TabularData, BinaryIO]:
        found = table()
        return found, (_csv if media_type == CSV else _parquet)(found, context.state)

    limiter = context.state.compute_slots if media_type == CSV else context.state.ingest_slots
    found, file = await expensive_work.run(context, request, limiter, written)
    return whole(file, _headers(found, "csv" if media_type == CSV else "parquet"), media_type)


def _headers(table: TabularData, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{table.name}.{ending}"', "Vary": "Accept"}


def _csv(table: TabularData, state: AppState) -> BinaryIO:
    """An open file that is already unlinked."""
    with state.artifacts.scratch() as folder:
        target = folder / "table.csv"
        with target.open("w", encoding="utf-8", newline="") as lines:
            lines.writelines(map(_lines, csv_rows(table)))
        return current().close_on_discard(target.open("rb"))


def _parquet(table: TabularData, state: AppState) -> BinaryIO:
    """An open file that is already unlinked."""
    with state.artifacts.scratch() as folder:
        target = folder / "table.parquet"
        write_rows(table.columns, table.pages, target, state.file_process_limits)
        try:
            return current().close_on_discard(target.open("rb"))
        except OSError as error:
            raise StorageError(f"the table could not be read: {error.strerror}") from error


def csv_rows(table: TabularData) -> Iterator[list[list[Any]]]:
    """The header, then the rows in pages, as CSV cells."""
    yield [list(map(escape_formula, table.columns))]
    for rows in table.pages:
        yield [list(map(_cell, row)) for row in rows]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return escape_formula(value)
    return str(value).lower() if isinstance(value, bool) else value


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
