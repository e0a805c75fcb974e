"""An optional library that is not installed: the error says what needs it, and what to install."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs(what: str, library: str, install: str) -> Iterator[None]:
    """Around the imports that `what` needs; raises ImportError for a missing library that says how to install it.

    `install`: what pip is to install, as in `bestepoch[pandas]`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "service":
            raise  # a fault of ours
        raise ImportError(f"{what} needs {library}: pip install '{install}'", name=error.name) from error
