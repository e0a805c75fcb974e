"""CSV injection (formula injection): text that a spreadsheet would evaluate is escaped in the CSV files written here.

A leading apostrophe makes spreadsheets show text as it is; reading a CSV file removes it again, so that names survive a
round trip.
"""

from __future__ import annotations

import re

_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")  # the last four are full-width forms of the first four


def escape_formula(text: str) -> str:
    """`text`, with a leading apostrophe if a spreadsheet would take it for a formula; numbers stay."""
    return f"'{text}" if _is_formula(text) else text


def unescape_formula(text: str) -> str:
    """The inverse of `escape_formula`."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Whether text looks like a formula, whatever the number of leading apostrophes: escaping can then be undone."""
    if not _FORMULA.match(text):
        return False
    try:
        float(text.lstrip("'"))
    except ValueError:
        return True
    return False
