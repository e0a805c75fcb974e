"""Which rows train, which choose the best epoch, which are scored once: what a client can ask for, and the sizes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from service.spec.base import Bool, ColumnName, Float, Int, Seed, Strict

PARTS = ("train", "validation", "test")
VALIDATION = 0.2

Fraction = Annotated[Float, Field(ge=0.0, lt=1.0)]


class Split(Strict):
    """Which rows train, which choose the best epoch, which are scored once at the end.

    Drawn at random by default. `column`, `order_by` and `group` go by what a column of the table holds; such a column
    is not learnt from unless `data.features` names it. `folds` is for cross-validation.
    """

    validation: Fraction | None = None
    """Share of the rows that choose the best epoch; null: 0.2, or as `column` or `folds` says."""
    test: Fraction | None = None
    """Share of the rows that are scored once, with the best weights; null: none, or as `column` says."""
    shuffle: Bool | None = None
    """Draw the rows at random; false takes training, validation and test rows in this order. Null: yes, unless `column`
    or `order_by` is given."""
    stratify: Bool | None = None
    """Keep the class shares in every part; null: yes for shuffled classification without `group`."""
    seed: Seed = 0
    """The same seed gives the same split."""
    column: ColumnName | None = None
    """A text column that names each row's part: `train`, `validation` or `test`."""
    group: ColumnName | None = None
    """Rows with the same value in this column go to the same part: sizes are then as near as whole groups allow. Rows
    without a value are one more group."""
    order_by: ColumnName | None = None
    """A column of dates or numbers: the earliest rows train, the latest test. Equal times stay in the table's order."""
    folds: Annotated[Int, Field(ge=2, le=100)] | None = None
    """Cut the rows that do not test into so many parts of equal size, of which one validates and the others train."""
    fold: Annotated[Int, Field(ge=1)] | None = None
    """Which of the `folds` validates, counted from 1; null: the first."""

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
            # `false` is what these two come to, so that a spec with every default written out means the same.
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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide where a row goes."""
        return tuple(name for name in (self.column, self.group, self.order_by) if name is not None)

    @property
    def validates(self) -> bool:
        """Whether there are to be validation rows."""
        return self.validation != 0

    def filled(self, *, classes: bool) -> Split:
        """With every default written out; `classes`: for classification."""
        shuffle = self.column is None and self.order_by is None if self.shuffle is None else self.shuffle
        stratify = shuffle and classes and self.group is None if self.stratify is None else self.stratify
        update: dict[str, Any] = {"shuffle": shuffle, "stratify": stratify}
        if self.column is None:
            update["test"] = self.test or 0.0
            if self.folds is None:
                update["validation"] = VALIDATION if self.validation is None else self.validation
            else:
                update["fold"] = self.fold or 1
        return self.model_copy(update=update)


def split_sizes(rows: int, split: Split) -> tuple[int, int, int]:
    """(train, validation, test) of so many rows, by shares or folds; a share above 0 gets at least one row."""
    test = max(1, round(rows * split.test)) if split.test else 0
    if split.folds is not None:
        each, more = divmod(rows - test, split.folds)
        validation = each + ((split.fold or 1) <= more)
    else:
        share = VALIDATION if split.validation is None else split.validation
        validation = max(1, round(rows * share)) if share else 0
    return rows - validation - test, validation, test
