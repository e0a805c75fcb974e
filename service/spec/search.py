"""How a sweep searches: which trials it proposes, how many epochs they get, and when they are pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from service.spec.base import DottedName, Float, Int, Seed, Strict
from service.spec.capped_errors import CapErrors
from service.spec.space import ChoiceParameter, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Constraint(Strict):
    """A linear constraint: the sum of factors times values is at most `max`."""

    terms: Annotated[dict[DottedName, Float], Field(min_length=1, max_length=50), CapErrors()]
    """Factors by names of the space whose values are numbers. The constraint is ignored for trials that do not use all
    of these names."""
    max: Float
    """The largest sum allowed."""


class _Search(Strict):
    trials: Annotated[Int, Field(ge=1, le=100_000)] | None = None
    """Number of trials. A trial is a point with all its folds and replicates. Required with `space`; with `grid` or
    `points`, each point is a trial."""
    seed: Seed = 0
    """Random seed of the trials; the same seed proposes the same trials."""
    epochs: Annotated[Int, Field(ge=1, le=10**12)] | None = None
    """Budget: epochs of all jobs together, which is never exceeded; null: no limit. There may be fewer trials than
    `trials`."""
    seconds: Annotated[Float, Field(gt=0.0, le=2_592_000.0)] | None = None
    """Budget: seconds from submission, after which waiting jobs are pruned, while running ones go on; null: no limit.
    A search that this budget ends is not repeatable."""
    constraints: Annotated[list[Constraint], Field(max_length=50), CapErrors()] = []
    """Linear constraints that each trial meets."""
    max_parameters: Annotated[Int, Field(ge=1, le=10**12)] | None = None
    """Largest number of parameters of a trial's network; null: no limit but the server's."""


class RandomSearch(_Search):
    """Trials drawn at random from the space."""

    kind: Literal["random"]
    """The kind of search."""


class TpeSearch(_Search):
    """Trials proposed by Optuna's tree-structured Parzen estimator, in batches that train side by side."""

    kind: Literal["tpe"]
    """The kind of search."""
    startup_trials: Annotated[Int, Field(ge=1, le=10_000)] = 10
    """Trials drawn at random first: those of `random` with the same seed."""
    batch: Annotated[Int, Field(ge=1, le=1_000)] = 8
    """Trials proposed at once, when all earlier ones have ended. More are faster on several cores; fewer learn from
    more results."""


class _Rungs(_Search):
    eta: Annotated[Int, Field(ge=2, le=100)] = 3
    """One of so many trials is promoted to the next rung, which trains `eta` times as many epochs."""
    min_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """Epochs of the first rung; null: `max_epochs` divided by `eta` to the power of 4, rounded up."""


class HalvingSearch(_Rungs):
    """Synchronous successive halving: all trials train a few epochs, the best of them `eta` times as many, and so on.

    The last rung trains to `max_epochs` or early stopping. Learning-rate schedules count by `max_epochs` in all rungs.
    """

    kind: Literal["halving"]
    """The kind of search."""


class HyperbandSearch(_Rungs):
    """Hyperband: several brackets of successive halving, which begin with more and more epochs and fewer trials."""

    kind: Literal["hyperband"]
    """The kind of search."""


Search = Annotated[RandomSearch | TpeSearch | HalvingSearch | HyperbandSearch, Field(discriminator="kind")]


def search_errors(
    search: Search, space: Mapping[str, Parameter] | None, names: Iterable[str], max_epochs: int
) -> Iterator[tuple[tuple[str | int, ...], str | None, Any]]:
    """What is wrong with a search over `space`, or over points that change `names`, for `errors_at`.

    `max_epochs`: that of the base spec.
    """
    if space is None:
        yield from _errors_without_space(search)
    elif search.trials is None:
        yield ("trials",), None, None
    else:
        for index, constraint in enumerate(search.constraints):
            for name, factor in constraint.terms.items():
                if not is_number(space.get(name)):
                    message = "is not a number of the space" if name in space else "is not a name of the space"
                    yield ("constraints", index, "terms", name), message, factor
    if isinstance(search, HalvingSearch | HyperbandSearch):
        if "max_epochs" in {*names, *(space or ())}:
            message = f"{search.kind} decides how many epochs each trial gets: remove max_epochs from what varies"
            yield ("kind",), message, search.kind
        if search.min_epochs is not None and search.min_epochs >= max_epochs:
            yield ("min_epochs",), f"should be less than max_epochs of the base, {max_epochs}", search.min_epochs


def _errors_without_space(search: Search) -> Iterator[tuple[tuple[str | int, ...], str | None, Any]]:
    if not isinstance(search, HalvingSearch | HyperbandSearch):
        yield ("kind",), f"{search.kind} draws its trials from a space: give `space`, without grid and points", None
    if search.trials is not None:
        yield ("trials",), "is for a space: each point of the grid or list is a trial", search.trials
    if search.constraints:
        yield ("constraints",), "are for a space: leave out points that should not train", None
    if search.max_parameters is not None:
        yield ("max_parameters",), "is for a space: leave out points that should not train", search.max_parameters


def is_number(parameter: Parameter | None) -> bool:
    """Whether all values of the parameter are numbers."""
    if isinstance(parameter, ChoiceParameter):
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.choice)
    return parameter is not None
