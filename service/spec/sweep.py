"""The sweep spec: many jobs from a base spec, by a grid or a list of points, cross-validation folds and seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from service.errors import json_pointer
from service.spec.base import Change, DottedName, Int, Name, Strict, errors_at
from service.spec.capped_errors import CapErrors
from service.spec.job import JobSpec, Labels
from service.spec.model import Label, Selection
from service.spec.search import Search, search_errors
from service.spec.space import MAX_NAMES, ChoiceParameter, Space, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from service.spec.space import Parameter

FOLD = ("split.folds", "split.fold")
REPEAT = "split.repeat"
MAPPINGS = ("labels", "optimizer.rates")
"""Fields whose keys clients choose, and which may contain dots."""

Values = Annotated[list[Change], Field(min_length=1), CapErrors()]
Changes = Annotated[dict[DottedName, Change], Field(max_length=MAX_NAMES), CapErrors()]


class SweepSpec(Strict):
    """Many jobs from one base spec: the points of a grid or a list, or only the base."""

    name: Name | None = None
    """An optional name."""
    labels: Labels = {}
    """Free key-value pairs of the sweep; its jobs have the labels of `base`."""
    base: JobSpec
    """The base job spec of every point."""
    grid: Annotated[dict[DottedName, Values], Field(min_length=1, max_length=MAX_NAMES), CapErrors()] | None = None
    """Grid search: dotted paths in the spec, e.g. `optimizer.lr`, with the values to try; every combination, the last
    path varies fastest. Below `labels` and `optimizer.rates` the rest of a path is one key, e.g.
    `optimizer.rates.linear.bias`."""
    points: Annotated[list[Changes], Field(min_length=1), CapErrors()] | None = None
    """A list of points, each with dotted paths and values."""
    space: Space | None = None
    """A space from which `search` draws points: dotted paths with bounds or choices, e.g.
    `{"optimizer.lr": {"log": [1e-4, 0.1]}, "architecture.hidden": {"choice": [[64], [64, 32]]}}`."""
    search: Annotated[Search | None, Field(validate_default=True)] = None
    """The search: which trials are drawn from `space`, or how trials of a grid or list are pruned; null trains all
    points to their end."""
    replicates: Annotated[Int, Field(ge=1, le=1_000)] = 1
    """Jobs per point and fold, with seeds counted up from the base's `seed`."""
    folds: Annotated[Int, Field(ge=2, le=100)] | None = None
    """Cross-validation: each point is trained once per fold, with that fold for validation; null: once, with the base's
    `split`."""
    repeats: Annotated[Int, Field(ge=1, le=100)] = 1
    """Repeated cross-validation: each point is trained on so many random assignments of rows to `folds`."""
    preset: Literal["fast", "good", "best"] | None = None
    """Points and folds from tested recipes for tables, in place of a grid or points. `fast`: one network. `good`: one
    recipe, cross-validated. `best`: all recipes, cross-validated. Fields that `base` sets keep their values."""
    model: Label | None = None
    """Publish a version of the model of this name at the end, from the jobs that `select` takes."""
    select: Selection | None = None
    """With `model`: `best`, the jobs of the best point, or `greedy`, ensemble selection over all points by their
    predictions of held-out rows; null: `greedy` for a preset, else `best`."""

    @field_validator("points")
    @classmethod
    def _not_both(cls, points: list[Any] | None, known: ValidationInfo) -> list[Any] | None:
        if points is not None and known.data.get("grid") is not None:
            raise ValueError("give a grid or points, not both")
        return points

    @field_validator("space")
    @classmethod
    def _only_space(cls, space: Space | None, known: ValidationInfo) -> Space | None:
        if space is not None and (known.data.get("grid") is not None or known.data.get("points") is not None):
            raise ValueError("give one of space, grid and points")
        return space

    @field_validator("search")
    @classmethod
    def _searchable(cls, search: Search | None, known: ValidationInfo) -> Search | None:
        if "space" not in known.data or "base" not in known.data:
            return search
        space = known.data["space"]
        if search is None:
            if space is not None:
                raise PydanticKnownError("missing")
            return None
        names = [*(known.data.get("grid") or ()), *(name for point in known.data.get("points") or () for name in point)]
        if space is None and not names:
            raise ValueError("needs trials: give a space, a grid or points")
        if found := list(search_errors(search, space, names, known.data["base"].max_epochs)):
            raise errors_at("search", found)
        return search

    @field_validator("replicates")
    @classmethod
    def _seeds_once(cls, replicates: int, known: ValidationInfo) -> int:
        changed = [known.data.get("grid") or known.data.get("space") or {}, *(known.data.get("points") or [])]
        if replicates > 1 and any("seed" in names for names in changed):
            raise ValueError("replicates set the seeds: remove `seed` from the points, or set replicates to 1")
        return replicates

    @field_validator("folds")
    @classmethod
    def _folds_once(cls, folds: int | None, known: ValidationInfo) -> int | None:
        changed = [known.data.get("grid") or known.data.get("space") or {}, *(known.data.get("points") or [])]
        if folds and any(name in names for names in changed for name in ("split", *FOLD, REPEAT)):
            raise ValueError("folds set split.folds and split.fold: remove them and `split` from the points")
        base = known.data.get("base")
        if folds and base is not None and base.split.folds is not None:
            raise ValueError("folds set split.folds and split.fold: remove them from the base")
        return folds

    @field_validator("repeats")
    @classmethod
    def _repeats_need_folds(cls, repeats: int, known: ValidationInfo) -> int:
        if repeats > 1 and "folds" in known.data and known.data["folds"] is None:
            raise ValueError("needs folds; replicates train a point with several seeds")
        return repeats

    @field_validator("preset")
    @classmethod
    def _preset_alone(cls, preset: str | None, known: ValidationInfo) -> str | None:
        given = [name for name in ("grid", "points", "space", "search", "folds") if known.data.get(name) is not None]
        given += [name for name in ("replicates", "repeats") if known.data.get(name, 1) != 1]
        if preset is not None and given:
            raise ValueError(f"sets points, folds and seeds itself: remove `{given[0]}`")
        return preset

    @field_validator("select")
    @classmethod
    def _of_a_model(cls, select: Selection | None, known: ValidationInfo) -> Selection | None:
        if select is not None and "model" in known.data and known.data["model"] is None:
            raise ValueError("needs `model`")
        return select

    @property
    def selection(self) -> Selection:
        """How the members of the published version are chosen."""
        return self.select or ("greedy" if self.preset else "best")

    @property
    def jobs_per_point(self) -> int:
        """Seeds, folds and their repeats of each point."""
        return self.replicates * self.repeats * (self.folds or 1)

    @property
    def trials(self) -> int:
        """The number of points; of a search that may stop before, the largest."""
        if self.space and self.search and self.search.trials:
            return self.search.trials
        return prod(map(len, self.grid.values())) if self.grid else len(self.points or [{}])

    @property
    def size(self) -> int:
        """The number of jobs."""
        return self.trials * self.jobs_per_point


def path_of(name: str) -> tuple[str, ...]:
    """The path of a dotted name: `optimizer.rates.linear.bias` is the key `linear.bias` of `optimizer.rates`."""
    for mapping in MAPPINGS:
        if name.startswith(f"{mapping}."):
            return (*mapping.split("."), name.removeprefix(f"{mapping}."))
    return tuple(name.split("."))


@dataclass(frozen=True)
class Point:
    """One job of a sweep: its changes to the base, and their places in the sweep spec."""

    changes: dict[str, Any]  # by dotted name
    places: dict[str, str]  # JSON pointers into the sweep, by dotted name
    pointer: str  # to the point itself, or to the grid

    def __str__(self) -> str:
        """The changes as text, long values cut: `optimizer.lr=0.1, seed=1`."""
        return self.only(self.changes)

    def only(self, names: Iterable[str]) -> str:
        """These of the changes as text."""
        return ", ".join(f"{name}={json.dumps(self.changes[name])[:60]}" for name in names)

    def locate(self, pointer: str) -> str:
        """Map a pointer in the job spec to its origin in the sweep spec."""
        paths = {name: json_pointer(*path_of(name)) for name in self.places}
        for name in sorted(paths, key=lambda name: -len(paths[name])):
            if f"{pointer}/".startswith(f"{paths[name]}/"):
                return self.places[name] + pointer.removeprefix(paths[name])
        below = [name for name, path in paths.items() if path.startswith(f"{pointer}/")]
        return self.places[below[0]] if below else f"/base{pointer}"


def expand(sweep: SweepSpec) -> Iterator[Point]:
    """The point of every job, in order: the grid's last path varies fast, repeats, folds and seeds faster."""
    for point in points_of(sweep):
        yield from jobs_of(sweep, point)


def jobs_of(sweep: SweepSpec, point: Point) -> Iterator[Point]:
    """The jobs of a point: its repeats, folds and seeds, which vary fastest."""
    for folded in _folds(sweep, point):
        if sweep.replicates == 1:
            yield folded
            continue
        for replicate in range(sweep.replicates):
            yield replace(folded, changes={**folded.changes, "seed": sweep.base.seed + replicate})


def drawn_point(space: Mapping[str, Parameter], changes: Mapping[str, Any]) -> Point:
    """A point drawn from the sweep's space."""
    return Point(dict(changes), {name: _place(space, name, value) for name, value in changes.items()}, "/space")


def _place(space: Mapping[str, Parameter], name: str, value: Any) -> str:
    """The pointer to a choice, or to the name of a range."""
    parameter = space[name]
    if not isinstance(parameter, ChoiceParameter):
        return json_pointer("space", name)
    return json_pointer("space", name, "choice", list(map(as_text, parameter.choice)).index(as_text(value)))


def _folds(sweep: SweepSpec, point: Point) -> Iterator[Point]:
    if sweep.folds is None:
        yield point
        return
    places = {**point.places, **dict.fromkeys(FOLD, "/folds")}
    for repeat in range(1, sweep.repeats + 1):
        changes = point.changes
        if sweep.repeats > 1:
            changes, places = {**changes, REPEAT: repeat}, {**places, REPEAT: "/repeats"}
        for fold in range(1, sweep.folds + 1):
            yield Point({**changes, **dict(zip(FOLD, (sweep.folds, fold), strict=True))}, places, point.pointer)


def points_of(sweep: SweepSpec) -> Iterator[Point]:
    """The points of the grid or list, in order; only the base if there are none."""
    if sweep.points is not None:
        for index, changes in enumerate(sweep.points):
            pointer = f"/points/{index}"
            yield Point(changes, {name: json_pointer("points", index, name) for name in changes}, pointer)
        return
    axes = [
        [(name, value, json_pointer("grid", name, index)) for index, value in enumerate(values)]
        for name, values in (sweep.grid or {}).items()
    ]
    for chosen in product(*axes):
        changes = {name: value for name, value, _ in chosen}
        yield Point(changes, {name: place for name, _, place in chosen}, "/grid")


def changed(base: JobSpec, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, as unvalidated input for JobSpec; unchanged fields are the base's validated objects.

    A changed part has only the fields that the client has set, so that a changed `optimizer.kind` gets its own
    defaults. Shallow paths are applied first: `optimizer.lr` changes the value of `optimizer`. A path below null
    creates an object.
    """
    touched = {name.partition(".")[0] for name in changes}
    spec: dict[str, Any] = {name: getattr(base, name) for name in JobSpec.model_fields.keys() - touched}
    spec |= base.model_dump(mode="json", exclude_unset=True, include=touched)
    for path, value in sorted(((path_of(name), value) for name, value in changes.items()), key=lambda c: len(c[0])):
        *parents, last = path
        part = spec
        for parent in parents:
            child = part.get(parent)
            part[parent] = dict(child) if isinstance(child, dict) else {}
            part = part[parent]
        part[last] = value
    return spec
