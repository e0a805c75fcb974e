"""Reports as documents: JSON, Markdown or HTML, with costs of thresholds if asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Header, Query
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import Response

from service.api.http.ranges import JSON
from service.reports.costs import with_costs
from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.sections.classification import Costs

if TYPE_CHECKING:
    from service.reports.evaluation import Evaluation
    from service.reports.report import ReportSections


class ReportFormat(StrEnum):
    """Formats of a report."""

    json = "json"
    markdown = "markdown"
    html = "html"


MARKDOWN = "text/markdown"
HTML = "text/html"
MEDIA_TYPES = {ReportFormat.json: JSON, ReportFormat.markdown: MARKDOWN, ReportFormat.html: HTML}
ENDINGS = {ReportFormat.json: "json", ReportFormat.markdown: "md", ReportFormat.html: "html"}
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
"""The page has a style sheet inside, and nothing to load, to run or to send."""
_TEXT = {"schema": {"type": "string"}}
DOCUMENTS = {MARKDOWN: _TEXT, HTML: _TEXT}
"""The formats beside JSON, for OpenAPI."""


def _chosen_format(
    format: Annotated[  # noqa: A002
        ReportFormat | None, Query(description="Default: by `Accept`, else JSON. HTML is one file with its charts.")
    ] = None,
    accept: Annotated[str, Header(description=f"`{MARKDOWN}` or `{HTML}` returns a document.")] = JSON,
) -> ReportFormat:
    """The format of the parameter, else the first one that the header names, else JSON."""
    named = [item.split(";")[0].strip().lower() for item in accept.split(",")]
    by_type = {media_type: found for found, media_type in MEDIA_TYPES.items()}
    return format or next((by_type[name] for name in named if name in by_type), ReportFormat.json)


def _parsed_costs(
    costs: Annotated[
        str | None,
        Query(
            description="Costs of the outcomes for two classes, as JSON, e.g. "
            '`{"false_positive": 1, "false_negative": 5}`: adds the mean cost of each threshold, and the best one.',
            max_length=1_000,
        ),
    ] = None,
) -> Costs | None:
    if costs is None:
        return None
    try:
        return Costs.model_validate_json(costs)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        named = [{**each, "loc": ("query", ".".join(map(str, ["costs", *each["loc"]])))} for each in found]
        raise RequestValidationError(named) from error


ChosenFormat = Annotated[ReportFormat, Depends(_chosen_format)]
ThresholdCosts = Annotated[Costs | None, Depends(_parsed_costs)]


def rendered(stored: bytes, kind: type[ReportSections], wanted: ReportFormat, costs: Costs | None) -> bytes:
    """A report of this kind, given as JSON, in the format. Raises InvalidRequest for costs without two classes."""
    if wanted is ReportFormat.json and costs is None:
        return stored
    report = kind.model_validate_json(stored)
    return written(report if costs is None else with_costs(report, costs), wanted)


def written(report: ReportSections | Evaluation, wanted: ReportFormat) -> bytes:
    """The report or evaluation in the format."""
    match wanted:
        case ReportFormat.json:
            return report.model_dump_json().encode()
        case ReportFormat.markdown:
            return to_markdown(report).encode()
        case ReportFormat.html:
            return to_html(report).encode()


def document_response(body: bytes, wanted: ReportFormat, name: str, headers: dict[str, str] | None = None) -> Response:
    """The document, for showing in the browser or saving as `name` with the format's ending."""
    disposition = f'inline; filename="{name}.{ENDINGS[wanted]}"'
    all_headers = {"Vary": "Accept", "Content-Disposition": disposition, **(headers or {})}
    if wanted is ReportFormat.html:
        all_headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return Response(body, headers=all_headers, media_type=MEDIA_TYPES[wanted])
