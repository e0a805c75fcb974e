"""A report as one HTML file: style and charts inside, no scripts, readable on screen and paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from service.reports.documents.blocks import Callout, Charts, Paragraph, Table
from service.reports.documents.document import document
from service.reports.documents.plot import clean

if TYPE_CHECKING:
    from service.reports.documents.blocks import Block, Section
    from service.reports.evaluation import Evaluation
    from service.reports.report import ReportSections

STYLE = Path(__file__).with_name("style.css")
MARKS = {"good": "✔", "note": "●", "warning": "▲"}
LEVELS = {"good": "Good", "note": "Note", "warning": "Warning"}


def to_html(report: ReportSections | Evaluation) -> str:
    """The document; whatever comes from data is escaped."""
    found = document(report)
    contents = "".join(f'<li><a href="#{_anchor(each)}">{clean(each.title)}</a></li>' for each in found.sections)
    body = "".join(map(_section, found.sections))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{clean(found.title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>"
        f"<header><h1>{clean(found.title)}</h1><p>{clean(found.subtitle)}</p></header>"
        f"<main>{''.join(map(_block, found.blocks))}<nav><ul>{contents}</ul></nav>{body}</main>"
        f"<footer>bestepoch · {clean(found.footer)}</footer></body></html>\n"
    )


def _anchor(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _section(section: Section) -> str:
    blocks = "".join(map(_block, section.blocks))
    return f'<section id="{_anchor(section)}"><h2>{clean(section.title)}</h2>{blocks}</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{clean(text)}</p>"
        case Callout(level, text):
            mark = f'<span class="mark" role="img" aria-label="{LEVELS[level]}">{MARKS[level]}</span>'
            return f'<p class="callout {level}">{mark}{clean(text)}</p>'
        case Table():
            return _table(block) if block.in_html else ""
        case Charts(charts):
            drawn = "".join(
                f"<figure><figcaption>{clean(chart.title)}</figcaption>{chart.svg}</figure>" for chart in charts
            )
            return f'<div class="charts">{drawn}</div>'


def _table(table: Table) -> str:
    styles = ["" if place in table.text else ' class="number"' for place in range(len(table.head))]
    head = "".join(f'<th scope="col"{style}>{clean(name)}</th>' for name, style in zip(table.head, styles, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{style}>{clean(cell)}</td>" for cell, style in zip(row, styles, strict=True)) + "</tr>"
        for row in table.rows
    )
    header = f"<thead><tr>{head}</tr></thead>" if any(table.head) else ""
    return f'<div class="table"><table>{header}<tbody>{rows}</tbody></table></div>'
