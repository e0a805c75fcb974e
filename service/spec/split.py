"""The split into training, validation and test rows: its fields, and the sizes of its parts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from service.spec.base import Bool, ColumnName, Float, Int, Seed, Strict

PARTS = ("train", "validation", "test")
VALIDATION = 0.2

Fraction = Annotated[Float, Field(ge=0.0, lt=1.0)]


class Split(Strict):
    """The split of rows: training rows, validation rows that choose the best epoch, test rows that are scored once.

    Random by default. `column`, `order_by` and `group` split by a column of the table, which is no feature unless
    `data.features` names it. `folds` is for cross-validation.
    """

    validation: Fraction | None = None
    """Validation fraction; null: 0.2, or determined by `column` or `folds`."""
    test: Fraction | None = None
    """Test fraction; null: no test rows, or determined by `column`."""
    shuffle: Bool | None = None
    """Shuffle before the split; false takes training, validation and test rows in this order. Null: true, unless
    `column` or `order_by` is given."""
    stratify: Bool | None = None
    """Stratify by class; null: true for shuffled classification without `group`."""
    seed: Seed = 0
    """The same seed gives the same split."""
    column: ColumnName | None = None
    """A text column with each row's part: `train`, `validation` or `test`."""
    group: ColumnName | None = None
    """A column of groups: rows with the same value are in the same part, and sizes are as close as whole groups allow.
    Rows without a value are one group."""
    order_by: ColumnName | None = None
    """A column of dates or numbers: the earliest rows are for training, the latest for test. Ties keep their order."""
    folds: Annotated[Int, Field(ge=2, le=100)] | None = None
    """Cross-validation: split all rows but the test rows into this many folds of equal size; one validates."""
    fold: Annotated[Int, Field(ge=1)] | None = None
    """The fold that validates, counted from 1; null: the first."""
    repeat: Annotated[Int, Field(ge=1, le=100)] | None = None
    """Repeated cross-validation: which assignment of rows to folds, counted from 1; all have the same test rows. Null:
    the first."""
    train_fraction: Annotated[Float, Field(gt=0.0, le=1.0)] | None = None
    """Train on this share of the training rows, e.g. for a learning curve; the others are left out, and validation and
    test rows stay the same. Null: all, as 1.0. The rows are drawn at random, with `order_by` too: with their share of
    every class where the split is stratified, and whole groups with `group`."""
    train_seed: Seed | None = None
    """Random seed of the rows drawn by `train_fraction`; null: 0."""

    @field_validator("column", "group", "order_by", "folds")
    @classmethod
    def _alone(cls, value: Any, known: ValidationInfo) -> Any:
        said = known.data
        excluded: dict[str | None, tuple[str, ...]] = {
            "column": ("validation", "test", "shuffle", "stratify"),
            "group": ("column", "stratify"),
            "order_by": ("column", "group", "shuffle", "stratify"),
            "folds": ("column", "order_by", "validation"),
        }
        for other in excluded[known.field_name] if value is not None else ():
            # A spec with all defaults filled in has `false` here, which must stay valid.
            if said.get(other) not in (None, *([False] if other in ("shuffle", "stratify") else [])):
                raise ValueError(f"{known.field_name} and {other} exclude each other")
        return value

    @field_validator("fold")
    @classmethod
    def _one_of_the_folds(cls, fold: int | None, known: ValidationInfo) -> int | None:
        folds = known.data.get("folds")
        if fold is not None and "folds" in known.data and fold > (folds or 0):
            raise ValueError(f"there are {folds} folds" if folds else "needs folds")
        return fold

    @field_validator("repeat")
    @classmethod
    def _assignments_differ(cls, repeat: int | None, known: ValidationInfo) -> int | None:
        if repeat is not None and "folds" in known.data and known.data["folds"] is None:
            raise ValueError("needs folds")
        if repeat is not None and repeat > 1 and known.data.get("shuffle") is False:
            raise ValueError("without shuffle all repeats would have the same folds")
        return repeat

    @field_validator("train_seed")
    @classmethod
    def _seed_of_a_draw(cls, seed: int | None, known: ValidationInfo) -> int | None:
        if seed is not None and "train_fraction" in known.data and known.data["train_fraction"] is None:
            raise ValueError("needs train_fraction")
        return seed

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that determine the split."""
        return tuple(name for name in (self.column, self.group, self.order_by) if name is not None)

    @property
    def validates(self) -> bool:
        """Whether there are validation rows."""
        return self.validation != 0

    def filled(self, *, classes: bool) -> Split:
        """With all defaults filled in; `classes`: for classification."""
        shuffle = self.column is None and self.order_by is None if self.shuffle is None else self.shuffle
        stratify = shuffle and classes and self.group is None if self.stratify is None else self.stratify
        update: dict[str, Any] = {"shuffle": shuffle, "stratify": stratify}
        if self.train_fraction is not None:
            update["train_seed"] = self.train_seed or 0
        if self.column is None:
            update["test"] = self.test or 0.0
            if self.folds is None:
                update["validation"] = VALIDATION if self.validation is None else self.validation
            else:
                update["fold"], update["repeat"] = self.fold or 1, self.repeat or 1
        return self.model_copy(update=update)


def split_sizes(rows: int, split: Split) -> tuple[int, int, int]:
    """(train, validation, test) sizes, by fractions or folds; a fraction above 0 gets at least one row."""
    test = max(1, round(rows * split.test)) if split.test else 0
    if split.folds is not None:
        each, more = divmod(rows - test, split.folds)
        validation = each + ((split.fold or 1) <= more)
    else:
        share = VALIDATION if split.validation is None else split.validation
        validation = max(1, round(rows * share)) if share else 0
    return rows - validation - test, validation, test


def drawn_rows(train: int, split: Split) -> int:
    """How many of `train` training rows train; at least one. Whole groups come as close as they allow."""
    return train if split.train_fraction is None else min(train, max(1, round(train * split.train_fraction)))
