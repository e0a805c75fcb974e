"""Paths and glob patterns of files in a connection, as in `2026/*.parquet`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

WILDCARDS = re.compile(r"[*?\[]")
MAX_PATH = 1_000


def fault(path: str) -> str | None:
    """What is wrong with a path; None for a relative one that stays below the connection's root."""
    if len(path) > MAX_PATH:
        return f"should have at most {MAX_PATH:,} characters"
    if not path.isprintable():
        return "should have no control characters"
    if "://" in path:
        return "should be relative to the connection, which has the address"
    if "\\" in path:
        return "should separate folders by /"
    if path.startswith("/"):
        return f"should be relative to the connection, as in {path.lstrip('/') or '*'}"
    if path.endswith("/"):
        return f"should name files: for all of this folder, {path}*"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "should be relative, without empty parts, . and .."
    return None


def is_pattern(path: str) -> bool:
    """Whether a path has wildcards, so that it may match several files."""
    return WILDCARDS.search(path) is not None


def folder_of(pattern: str) -> str:
    """The folder that has all matches, with a slash at its end; empty for the root."""
    found = WILDCARDS.search(pattern)
    fixed = pattern if found is None else pattern[: found.start()]
    return fixed[: fixed.rfind("/") + 1]


def matches(pattern: str, path: str) -> bool:
    """Whether a path matches: `*`, `?`, `[a-z]` and `[!a-z]` within a folder's name, `**` any number of folders."""
    parts = path.split("/")
    matched = {0}  # numbers of parts that the pattern so far may have matched
    for each in pattern.split("/"):
        if each == "**":
            matched = {end for start in matched for end in range(start, len(parts) + 1)}
        else:
            matched = {number + 1 for number in matched if fnmatchcase("/".join(parts[number : number + 1]), each)}
    return len(parts) in matched
