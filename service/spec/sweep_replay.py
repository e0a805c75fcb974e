"""Rules to replay over the recorded curves of a sweep: successive halving, and early stopping."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from service.spec.base import Int, Strict
from service.spec.capped_errors import CapErrors
from service.spec.early_stopping import GeneralizationLoss, Patience, ProgressQuotient, SuccessiveRises


class Halving(Strict):
    """Successive halving, as the search of a sweep with the same fields."""

    kind: Literal["halving"]
    """The kind of search."""
    eta: Annotated[Int, Field(ge=2, le=100)] = 3
    """One of so many trials is promoted to the next rung, which trains `eta` times as many epochs."""
    min_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Epochs of the first rung; null: `max_epochs` divided by `eta` to the power of 4, rounded up."""


def rule(value: Any) -> str:
    """The tag of a rule in the union below; pydantic names its field in errors after this function."""
    if isinstance(value, Halving) or (isinstance(value, dict) and "kind" in value):
        return "halving"
    return str(value.get("rule", "patience") if isinstance(value, dict) else getattr(value, "rule", "patience"))


SweepRule = Annotated[
    Annotated[Halving, Tag("halving")]
    | Annotated[Patience, Tag("patience")]
    | Annotated[GeneralizationLoss, Tag("gl")]
    | Annotated[ProgressQuotient, Tag("pq")]
    | Annotated[SuccessiveRises, Tag("up")],
    Discriminator(rule),
]


class SweepReplayRequest(Strict):
    """Rules to replay over the recorded curves of a sweep."""

    rules: Annotated[list[SweepRule], Field(min_length=1, max_length=100), CapErrors()]
    """`{"kind": "halving"}` with `eta` and `min_epochs`, or a rule as `early_stopping` of a job spec, whose `monitor`
    is the metric of the sweep."""
