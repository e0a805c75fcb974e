"""A report as Markdown (GitHub's), without charts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from service.reports.documents.blocks import Callout, Paragraph, Table
from service.reports.documents.document import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.reports.documents.blocks import Block
    from service.reports.evaluation import Evaluation
    from service.reports.report import ReportSections

MARKS = {"good": "**Good:**", "note": "**Note:**", "warning": "**Warning:**"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")
_LINKED = re.compile(r"([^\s`|\\]*(?:://|www\.|@|#\d)[^\s`|\\]*)", re.IGNORECASE)
"""GitHub links addresses, `@name` and `#1` after it has resolved escapes, but not in code."""


def to_markdown(report: ReportSections | Evaluation) -> str:
    """The document; whatever comes from data is escaped."""
    found = document(report)
    parts = [f"# {escaped(found.title)}", escaped(found.subtitle), *_written(found.blocks)]
    for section in found.sections:
        parts += [f"## {escaped(section.title)}", *_written(section.blocks)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text in which no character is markup; what GitHub links becomes code, unprintable characters spaces."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    parts = _LINKED.split(printable)  # every second one is linked
    return "".join(f"`{part}`" if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))


def _written(blocks: list[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Paragraph(text):
                yield escaped(text)
            case Callout(level, text):
                yield f"{MARKS[level]} {escaped(text)}"
            case Table():
                yield _table(block)
            case _:
                pass


def _table(table: Table) -> str:
    rules = ["---" if place in table.text else "---:" for place in range(len(table.head))]
    lines = [map(escaped, table.head), rules, *(map(escaped, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
