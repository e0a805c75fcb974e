"""Draws the trials of a search at random: a pure function of the space, the seed and the trial's number."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from service.spec.space import as_text, in_order, used

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from service.spec.search import Constraint
    from service.spec.space import Parameter

    Admits = Callable[[Mapping[str, Any]], bool]

MAX_DRAWS = 10_000
"""Draws of one trial after which the space counts as exhausted."""
MAX_REFUSED = 200
"""Draws of one trial that `admits` may refuse, as each takes milliseconds."""


class Exhausted(Exception):
    """The space has no other point that meets the constraints, or one too rare to be drawn."""


def draw(
    space: Mapping[str, Parameter],
    constraints: Sequence[Constraint],
    seed: int,
    trial: int,
    *,
    taken: Collection[str],
    admits: Admits = lambda _: True,
) -> dict[str, Any]:
    """The point of a trial: its values by name, without those that are not in use.

    `taken`: the points of earlier trials, as `as_text` writes them; `admits`: whether a network is small enough. A
    point that is taken or not allowed is drawn again. Raises Exhausted.
    """
    streams = {name: random.Random(f"{seed}/{trial}/{name}") for name in in_order(space)}
    refused = 0
    for _ in range(MAX_DRAWS):
        shares = {name: stream.random() for name, stream in streams.items()}
        point = point_at(space, shares)
        if as_text(point) in taken or not meets(constraints, point):
            continue
        if admits(point):
            return point
        refused += 1
        if refused == MAX_REFUSED:
            break
    raise Exhausted


def draw_all(
    space: Mapping[str, Parameter],
    constraints: Sequence[Constraint],
    seed: int,
    *,
    admits: Admits = lambda _: True,
) -> Iterator[dict[str, Any]]:
    """The points of the trials from the first on, none twice; ends when the space is exhausted.

    The first n are the same however many are taken.
    """
    taken = set[str]()
    while True:
        try:
            point = draw(space, constraints, seed, len(taken) + 1, taken=taken, admits=admits)
        except Exhausted:
            return
        taken.add(as_text(point))
        yield point


def point_at(space: Mapping[str, Parameter], shares: Mapping[str, float]) -> dict[str, Any]:
    """The point at these shares, from 0 to 1, of the distributions; names in the order of the space."""
    values = dict[str, Any]()
    for name in in_order(space):
        if used(space[name], values):
            values[name] = space[name].at(shares[name])
    return {name: values[name] for name in space if name in values}


def meets(constraints: Sequence[Constraint], point: Mapping[str, Any]) -> bool:
    """Whether the point meets all constraints; those on names that it does not use are ignored."""
    return all(
        sum(factor * point[name] for name, factor in each.terms.items()) <= each.max
        for each in constraints
        if each.terms.keys() <= point.keys()
    )
