"""Text that a spreadsheet shows instead of computing it, in the CSV files that the service writes."""

from __future__ import annotations

import re

_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")  # the last four are the wide forms of the first


def escape_formula(text: str) -> str:
    """The text, behind an apostrophe if a spreadsheet would take it for a formula; numbers are none."""
    return f"'{text}" if _is_formula(text) else text


def unescape_formula(text: str) -> str:
    """What `escape_formula` has made this text of."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """So that one apostrophe more or less makes no difference, and each can be taken off again."""
    if not _FORMULA.match(text):
        return False
    try:
        float(text.lstrip("'"))
    except ValueError:
        return True
    return False
