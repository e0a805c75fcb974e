"""Text helpers for messages: lists of names, truncated, and the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAME = 100
"""Longer names are no misspellings, and slow to compare."""
MAX_PAIRS = 1_000_000
"""Maximum number of pairs of characters, of the name and of all known ones: about 0.1 s of comparing."""


def similar(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is probably a misspelling of.

    Slow among many names: call it for the first error of a request only. None above `MAX_PAIRS`.
    """
    by_text = {plain(each): each for each in known}
    if len(name) > MAX_NAME or len(name) * sum(map(len, by_text)) > MAX_PAIRS:
        return None
    found = get_close_matches(plain(name), by_text, n=1, cutoff=0.7)
    return by_text[found[0]] if found else None


def plain(name: str) -> str:
    """The name in small letters, without hyphens, underscores and spaces."""
    return "".join(name.lower().replace("_", "").replace("-", "").split())


def listed(texts: Iterable[str], most: int = 5) -> str:
    """The first texts, separated by commas, and how many more there are."""
    every = list(texts)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names in quotes, separated by commas, and how many more there are."""
    return listed(map(repr, names), most)
