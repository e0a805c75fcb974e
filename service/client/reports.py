"""Reports and evaluations, as objects or as documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from service.client.predictions import body_of
from service.reports.evaluation import Evaluation
from service.reports.report import ReportSections

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    *,
    retrain: bool = False,
) -> R | str:
    """The report of the job or the model at this path; raises ApiError."""
    params = _params(format) | ({} if costs is None else {"costs": json.dumps(dict(costs))})
    params |= {"retrain": "true"} if retrain else {}
    answer = transport.request("GET", f"{path}/report", params=params, timeout=SECONDS)
    return kind.model_validate_json(answer.content) if format == "object" else answer.text


def evaluate(transport: Transport, path: str, rows: Any, format: Format) -> Evaluation | str:  # noqa: A002
    """The evaluation of the model at this path on labelled rows; raises ApiError, and OSError for a file."""
    content, media_type = body_of(rows)
    headers = {"Content-Type": media_type}
    options: dict[str, Any] = {"params": _params(format), "content": content, "headers": headers}
    answer = transport.request("POST", f"{path}/evaluate", timeout=SECONDS, **options)
    return Evaluation.model_validate_json(answer.content) if format == "object" else answer.text


def _params(format: Format) -> dict[str, str]:  # noqa: A002
    return {"format": "json" if format == "object" else format}
