"""Presets: names for sets of recipes, which become the points and folds of a plain sweep.

The recipes are data in `service/recipes`. A file is a version, and never changes once it is published.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from service.spec.architecture import row_shape
from service.spec.base import Strict
from service.spec.job import JobSpec, Task
from service.spec.split import split_sizes
from service.spec.task import task_of

if TYPE_CHECKING:
    from service.spec.table import TableProfile

VERSION = "tabular-1"
"""The recipes that presets take now."""
SEEDS = 3
"""Seeds of each point where a preset has folds, but the table is too large for them, or the split has none."""
MIN_FOLD_ROWS = 2
"""Fewest rows that validate in a fold; small tables have fewer folds."""
WITH_KIND = ("architecture", "optimizer", "schedule", "averaging", "loss", "early_stopping")
"""Fields with a kind, whose settings are kept or replaced together."""


class Preset(StrEnum):
    """How much a sweep tries: `fast` is one network, `good` one recipe on several folds, `best` all recipes."""

    fast = "fast"
    good = "good"
    best = "best"


@dataclass(frozen=True)
class PlainSweep:
    """The fields of a sweep that a preset stands for."""

    points: list[dict[str, Any]]
    """Changes to the base by dotted name; a point for each recipe."""
    folds: int | None
    """Folds of each point; None: the split of the base."""
    replicates: int
    """Seeds of each point and fold."""


class _Selection(Strict):
    """What a preset trains."""

    recipes: list[str]
    """Names of recipes."""
    folds: bool
    """Whether each recipe is trained on several folds."""


class _Folds(Strict):
    """How many folds a table has."""

    rows_below: int
    """Of tables with fewer rows."""
    folds: int
    """The number of folds."""


class _Size(Strict):
    """Settings by the size of a table."""

    rows_below: int | None = None
    """Of tables with fewer training rows; null: of all."""
    batch_size: int
    """Rows per step."""
    schedule_epochs: int
    """Epochs of recipes with a learning-rate schedule, which train to its end."""


class _Recipes(Strict):
    """A file of recipes."""

    presets: dict[Preset, _Selection]
    """The recipes of each preset."""
    folds: list[_Folds]
    """Folds by rows, the smallest tables first; larger tables have one split."""
    sizes: list[_Size]
    """Settings by training rows, the smallest tables first."""
    regression: dict[str, Any]
    """Changes that every recipe of a regression has."""
    recipes: dict[str, dict[str, Any]]
    """Changes to the base by dotted name, of each recipe."""


def expand(preset: Preset, base: JobSpec, table: TableProfile) -> PlainSweep:
    """The points, folds and seeds of a preset for this base and table: a function of these and of the recipes' version.

    What the client has set in `base` stays: a single setting such as `batch_size` or `preprocess.numeric` by itself,
    and fields that have a kind, e.g. `architecture`, as a whole. With an architecture for images, columns are
    preprocessed as `base` says. A base whose `split` leaves no choice of folds keeps it, and trains more seeds. Raises
    InvalidSpec if `base.task` does not fit the target.
    """
    file = _read(VERSION)
    selection = file.presets[preset]
    column = table.column(base.data.target if base.data.kind == "dataset" else "y")
    rows = table.rows - (column.missing if column else 0)
    folds = _folds(file, base, table, rows) if selection.folds else None
    split = base.split.model_copy(update={} if folds is None else {"folds": folds})
    train = split_sizes(rows, split)[0]
    size = next(each for each in file.sizes if each.rows_below is None or train < each.rows_below)
    common: dict[str, Any] = {"batch_size": size.batch_size}
    if column is not None and task_of(base, column) is Task.regression:
        common |= file.regression
    scheduled = {"max_epochs": size.schedule_epochs, "early_stopping": None}
    points: list[dict[str, Any]] = []
    for name in selection.recipes:
        recipe = common | file.recipes[name] | (scheduled if "schedule" in file.recipes[name] else {})
        point = {path: value for path, value in recipe.items() if not _is_set(base, path)}
        if point not in points:
            points.append(point)
    return PlainSweep(points, folds, SEEDS if selection.folds and folds is None else 1)


def _folds(file: _Recipes, base: JobSpec, table: TableProfile, rows: int) -> int | None:
    """The number of folds; None: the table is too large or too small, or the base's split cannot have folds."""
    split = base.split
    if split.column or split.order_by or split.validation is not None or split.folds is not None:
        return None
    rows -= split_sizes(rows, split)[2]
    folds = next((each.folds for each in file.folds if rows < each.rows_below), None)
    if folds is None or rows < MIN_FOLD_ROWS * 2:
        return None
    most = rows // MIN_FOLD_ROWS
    if split.group is not None and (groups := table.column(split.group)) is not None:
        most = min(most, groups.distinct - bool(split.test))
    return min(folds, most) if most >= 2 else None


def _is_set(base: JobSpec, path: str) -> bool:
    """Whether the client has decided on this field: by itself, or with the field that contains it."""
    field, _, setting = path.partition(".")
    if field == "preprocess" and row_shape(base.architecture) is not None and setting != "clip_target":
        return True
    if field not in base.model_fields_set:
        return False
    return not setting or field in WITH_KIND or setting in getattr(base, field).model_fields_set


@cache
def _read(version: str) -> _Recipes:
    text = files("service").joinpath("recipes", f"{version}.toml").read_text(encoding="utf-8")
    return _Recipes.model_validate(tomllib.loads(text))
