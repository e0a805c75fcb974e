"""Errors for optional libraries that are not installed: what needs them, and what to install."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs(what: str, library: str, install: str) -> Iterator[None]:
    """Import `library` inside; raises ImportError that says `what` needs it and how to install it.

    `install`: the argument of `pip install`, as in `bestepoch[pandas]`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "service":
            raise  # a bug, not a missing library
        raise ImportError(f"{what} needs {library}: pip install '{install}'", name=error.name) from error
