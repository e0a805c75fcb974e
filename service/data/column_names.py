"""The names of a file's columns: what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from service.errors import InvalidData

MAX_COLUMNS = 10_000
MAX_NAME = 1_000


def check_names(names: Sequence[str], where: str) -> None:
    """Raise InvalidData for column names that are missing, duplicate, too long or too many; `where`: for messages."""
    if len(names) > MAX_COLUMNS:
        raise InvalidData(f"{where} has {len(names):,} columns; at most {MAX_COLUMNS:,} are read")
    for number, name in enumerate(names, start=1):
        if not name.strip():
            hint = " (pandas: to_csv(index=False))" if number == 1 and where == "the first line" else ""
            raise InvalidData(f"column {number} has no name: name it in {where}, or remove it{hint}")
        if len(name) > MAX_NAME:
            raise InvalidData(f"the name of column {number} is longer than {MAX_NAME:,} characters")
        if "\0" in name:
            raise InvalidData(f"the name of column {number} contains a NUL character")
    folded, times = Counter(name.lower() for name in names).most_common(1)[0]
    if times > 1:
        twice = [name for name in names if name.lower() == folded]
        same = f"{twice[0]!r} names {times} columns"
        what = same if twice[0] == twice[1] else f"{twice[0]!r} and {twice[1]!r} differ only in case"
        raise InvalidData(f"{what}; column names must be unique")
