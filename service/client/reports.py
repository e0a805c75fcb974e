"""Reports and evaluations, as objects or as documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from service.client.predictions import CSV, JSON_LINES, json_lines, json_row, media_type_of
from service.client.uploads import as_file
from service.reports.evaluation import Evaluation
from service.reports.report import ReportSections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.client.transport import Transport

SECONDS = 900.0

R = TypeVar("R", bound=ReportSections)
Format = Literal["object", "markdown", "html"]


def read_report(
    transport: Transport,
    path: str,
    kind: type[R],
    format: Format,  # noqa: A002
    costs: Mapping[str, float] | None,
) -> R | str:
    """The report of the job or the model at this path; raises ApiError."""
    params = _params(format) | ({} if costs is None else {"costs": json.dumps(dict(costs))})
    answer = transport.request("GET", f"{path}/report", params=params, timeout=SECONDS)
    return kind.model_validate_json(answer.content) if format == "object" else answer.text


def evaluate(transport: Transport, path: str, rows: Any, format: Format) -> Evaluation | str:  # noqa: A002
    """The evaluation of the model at this path on labelled rows; raises ApiError, and OSError for a file."""
    answer = transport.request("POST", f"{path}/evaluate", params=_params(format), timeout=SECONDS, **_body(rows))
    return Evaluation.model_validate_json(answer.content) if format == "object" else answer.text


def _params(format: Format) -> dict[str, str]:  # noqa: A002
    return {"format": "json" if format == "object" else format}


def _body(rows: Any) -> dict[str, Any]:
    """The body of the request, with its type."""
    media_type = CSV
    if isinstance(rows, str | Path):
        media_type = media_type_of(Path(rows))
        rows = json_lines(Path(rows)) if media_type == JSON_LINES else Path(rows)
    if isinstance(rows, Path) or hasattr(rows, "columns"):
        return {"content": as_file(rows)[0], "headers": {"Content-Type": media_type}}
    return {"json": {"rows": _json_rows(rows)}}


def _json_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    found = list(rows)
    if not all(isinstance(row, Mapping) for row in found):
        raise TypeError("rows are dicts by column name, the path of a file, or a DataFrame")
    return [json_row(row) for row in found]
