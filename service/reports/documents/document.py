"""The document of a report or of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents.content import report_document
from service.reports.documents.evaluation_content import evaluation_document
from service.reports.evaluation import Evaluation

if TYPE_CHECKING:
    from service.reports.documents.blocks import Document
    from service.reports.report import ReportSections


def document(found: ReportSections | Evaluation) -> Document:
    """The whole document."""
    return evaluation_document(found) if isinstance(found, Evaluation) else report_document(found)
