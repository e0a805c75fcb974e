"""Builds Markdown safely: every value is escaped as code, unless it is Markdown already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import LiteralString


class Markdown(str):
    """Trusted Markdown: literals of this source, and results of the functions below."""

    __slots__ = ()


def write(template: LiteralString, **values: object) -> Markdown:
    """Fill in the template: Markdown and numbers unchanged, anything else as code."""
    return Markdown(template.format(**{name: _shown(value) for name, value in values.items()}))


def joined(separator: LiteralString, parts: Iterable[object]) -> Markdown:
    """The parts with the separator between them."""
    return Markdown(separator.join(map(_shown, parts)))


def table(head: tuple[LiteralString, ...], rows: Iterable[tuple[object, ...]]) -> Markdown:
    """A table; its cells are values as those of `write`."""
    lines = [head, tuple("---" for _ in head), *(tuple(map(_cell, row)) for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def code(value: object) -> Markdown:
    """Text as an inline code span, where no character is markup; unprintable characters become spaces."""
    text = "".join(each if each.isprintable() else " " for each in str(value))
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    if not text.strip(" "):
        return Markdown(f"`{text or ' '}`")
    pad = " " if text[0] in "` " or text[-1] in "` " else ""  # Markdown strips one space at either end
    return Markdown(f"{fence}{pad}{text}{pad}{fence}")


def _shown(value: object) -> str:
    if isinstance(value, Markdown):
        return value
    return str(value) if isinstance(value, int | float) else code(value)


def _cell(value: object) -> str:
    return _shown(value).replace("|", "\\|")  # Markdown splits cells before it parses code spans
