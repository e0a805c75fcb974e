"""Words that messages to people share."""

from __future__ import annotations

from collections.abc import Iterable


def listed(texts: Iterable[str], most: int = 5) -> str:
    """The texts with commas between, of many the first few."""
    every = list(texts)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def some(names: Iterable[str], most: int = 5) -> str:
    """The names in quotes, of many the first few."""
    return listed(map(repr, names), most)
