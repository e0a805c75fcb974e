"""Text helpers for messages: lists of names, truncated."""

from __future__ import annotations

from collections.abc import Iterable


def listed(texts: Iterable[str], most: int = 5) -> str:
    """The first texts, separated by commas, and how many more there are."""
    every = list(texts)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names in quotes, separated by commas, and how many more there are."""
    return listed(map(repr, names), most)
