"""What TPE is asked: a light type, because the API does not import Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.spec.search import TpeSearch
    from service.spec.space import Parameter


@dataclass(frozen=True)
class TpeRequest:
    """A request for the next trials."""

    space: dict[str, Parameter]
    search: TpeSearch
    points: Sequence[dict[str, Any]]
    """The trials so far, by number."""
    values: Sequence[float | None]
    """Their values; None counts as worse than any."""
    larger_is_better: bool
    count: int
    refused: Sequence[dict[str, Any]] = ()
    """Points that are not allowed."""
