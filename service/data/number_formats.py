"""Formatted numbers: `1,234,567`, `$1,234.50`, `12.5%`, `(1,000)`; the same rules for files (SQL) and JSON (Python).

Needs only Python. In a bundle this file is called number_formats.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = r"(?:[0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]+)?"
_CURRENCY = "[$€£¥₹]"
_AMOUNT = f"(?:{_CURRENCY} ?{_NUMBER}|{_NUMBER}(?: ?(?:{_CURRENCY}|%))?)"

# The patterns are valid both for `re` and for RE2, which DuckDB uses.
FORMATTED = rf" *(?:[-+]? ?{_AMOUNT}|{_CURRENCY} ?-{_NUMBER}|\({_AMOUNT}\)|{_CURRENCY} ?\({_NUMBER}\)) *"
"""A number with thousands separators, a currency symbol, a percent sign, or parentheses for a negative one."""
NUMBER_LIKE = rf" *[-+(]*{_CURRENCY}? ?[-(]?[0-9]+(?:[., ][0-9]{{3}})*(?:[.,][0-9]+)? ?(?:{_CURRENCY}|%)?\)? *"
"""What a person may mean as a number, in any notation."""
_AMBIGUOUS = r"[^,.]*,[0-9]{3}[^0-9,.]*"
"""`1,234` could be 1234 or 1.234."""
_THOUSANDS = r",[0-9]{3}[,.]|[$£¥₹(].*,|,.*[$£¥₹]"
"""Where this matches, a comma separates thousands: `1,234,567`, `1,234.5`, `$1,234`, `(1,234)`."""


def parse_formatted(text: str) -> float | None:
    """The number that `text` stands for; None for a plain number, an ambiguous one, and any other text.

    A percentage is a fraction: `12.5%` is 0.125.
    """
    if not re.search(f"[,(%]|{_CURRENCY}", text) or not are_unambiguous([text]):
        return None
    return parse_amount(text)


def parse_amount(text: str) -> float | None:
    """The number that `text` stands for, plain and ambiguous ones too, as `formatted_sql`; None for any other text."""
    if not re.fullmatch(FORMATTED, text):
        return None
    number = float(re.sub("[^0-9.]", "", text))
    return (-number if re.search("[-(]", text) else number) / (100.0 if "%" in text else 1.0)


def are_unambiguous(texts: Iterable[str]) -> bool:
    """Whether the commas of a column can only separate thousands, as `unambiguous_sql`."""
    found = list(texts)
    return not any(re.fullmatch(_AMBIGUOUS, text) for text in found) or any(
        re.search(_THOUSANDS, text) for text in found
    )


def formatted_sql(column: str) -> str:
    """SQL of the number that each text of `column` stands for, NULL for other texts; ambiguous ones are not NULL."""
    number = f"TRY_CAST(regexp_replace({column}, '[^0-9.]', '', 'g') AS DOUBLE)"
    signed = f"CASE WHEN regexp_matches({column}, '[-(]') THEN -({number}) ELSE {number} END"
    return (
        f"CASE WHEN regexp_full_match({column}, '{FORMATTED}')"
        f" THEN ({signed}) / (CASE WHEN contains({column}, '%') THEN 100.0::DOUBLE ELSE 1.0::DOUBLE END) END"
    )


def unambiguous_sql(column: str) -> str:
    """SQL aggregate: whether the commas of `column` can only separate thousands."""
    return (
        f"(NOT bool_or(regexp_full_match({column}, '{_AMBIGUOUS}'))"
        f" OR bool_or(regexp_matches({column}, '{_THOUSANDS}')))"
    )


def consistent_sql(column: str) -> str:
    """SQL aggregate: whether all values have the same unit, and not all are in parentheses, as footnotes are."""
    return (
        f"(count(DISTINCT nullif(regexp_extract({column}, '{_CURRENCY}'), '')) <= 1"
        f" AND bool_and(contains({column}, '%')) = bool_or(contains({column}, '%'))"
        f" AND NOT bool_and(contains({column}, '(')))"
    )
