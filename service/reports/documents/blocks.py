"""What a document consists of, as plain text, before it becomes Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Paragraph(NamedTuple):
    """A paragraph."""

    text: str


class Callout(NamedTuple):
    """A finding."""

    level: str
    """`good`, `note` or `warning`."""
    text: str


class Table(NamedTuple):
    """A table."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text: frozenset[int] = frozenset({0})
    """The columns that hold text, from 0; all others hold numbers."""
    in_html: bool = True
    """False: a chart shows the same."""


class Chart(NamedTuple):
    """A chart, which Markdown leaves out."""

    title: str
    svg: str


class Charts(NamedTuple):
    """Charts side by side."""

    charts: list[Chart]


Block = Paragraph | Callout | Table | Charts


class Section(NamedTuple):
    """A part of the document with a heading."""

    title: str
    blocks: list[Block]


class Document(NamedTuple):
    """A whole document."""

    title: str
    subtitle: str
    blocks: list[Block]
    """What comes first."""
    sections: list[Section]
    footer: str
    """Which job or version it is about."""
