"""Feature selection: which columns become features, and how each is encoded, by the stored profile alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from service.errors import FieldError, InvalidSpec
from service.spec import data_warnings
from service.spec.architecture import row_shape
from service.spec.data import DatasetData
from service.spec.input_layout import auto_embedding_size, codes_of
from service.spec.resolved import MIN_BINS, Feature, SpecWarning
from service.spec.table import MIN_CATEGORY_ROWS, ColumnType
from service.spec.task import target_of, task_of

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.table import Column, TableProfile

BINARY = 2
"""With as many classes, the mean target of one of them says that of the other."""
_INDEX = "it has no name in the file, as a row index; name it in data.features to use it"


@dataclass(frozen=True)
class Inputs:
    """The target and the features that the `data` of a spec selects."""

    target: Column
    features: tuple[Feature, ...]
    warnings: tuple[SpecWarning, ...]


def choose_inputs(spec: JobSpec, table: TableProfile) -> Inputs:
    """The target and the features, with warnings about columns that are left out, or should be.

    A function of the table and of `data`, `task`, `preprocess`, the columns that `split` names (which are features only
    if named) and whether the architecture takes rows as images. Raises InvalidSpec with a pointer to each wrong column.
    """
    data = spec.data
    if spec.preprocess.numeric == "piecewise_linear" and row_shape(spec.architecture) is not None:
        message = "piecewise_linear gives a column several inputs, which do not fit the values of architecture.shape"
        raise InvalidSpec.at("/preprocess/numeric", message)
    target = _target_column(table, data.target if isinstance(data, DatasetData) else "y")
    asked = data.features if isinstance(data, DatasetData) else None
    encoder = _Encoder(spec, table, target)
    if asked is None:
        features, warnings = _usable(spec, table, target.name, encoder)
    else:
        features, warnings = _named(table, asked, encoder), []
    if isinstance(data, DatasetData) and data.weight is not None:
        _check_weight(table, data.weight, target)
    if not features:
        raise InvalidSpec.at("/data/features", "no usable feature column is left")
    warnings += _rare_categories(table, features)
    warnings += data_warnings.of_features(table, target, [feature.column for feature in features])
    return Inputs(target, tuple(features), tuple(warnings))


def _target_column(table: TableProfile, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise InvalidSpec.at("/data/target", table.no_column(name))
    if column.distinct == 0:
        raise InvalidSpec.at("/data/target", f"column {name!r} has no values")
    if column.distinct == 1:
        raise InvalidSpec.at("/data/target", f"column {name!r} has a single value: there is nothing to predict")
    if column.type not in set(ColumnType):
        raise InvalidSpec.at(
            "/data/target", f"a newer version of the service read column {name!r} as {column.type.value}"
        )
    if column.type is ColumnType.datetime:
        raise InvalidSpec.at("/data/target", f"column {name!r} holds dates, which cannot be a target")
    return column


def _check_weight(table: TableProfile, name: str, target: Column) -> None:
    column = table.column(name)
    if name == target.name:
        raise InvalidSpec.at("/data/weight", f"column {name!r} is the target, which cannot be the weight as well")
    if column is None:
        raise InvalidSpec.at("/data/weight", table.no_column(name))
    if not isinstance(column.min, float) or not isinstance(column.max, float):
        raise InvalidSpec.at("/data/weight", f"column {name!r} is {column.type.value}; a weight is a number")
    if column.missing:
        raise InvalidSpec.at("/data/weight", f"column {name!r} has no value in {column.missing:,} rows")
    if column.min < 0 or column.max == 0:
        reason = f"holds {column.min:g}" if column.min < 0 else "holds nothing but 0"
        raise InvalidSpec.at("/data/weight", f"column {name!r} {reason}; weights are 0 or more, and some above 0")


def _named(table: TableProfile, asked: list[str], encoder: _Encoder) -> list[Feature]:
    features, faults, seen = list[Feature](), list[FieldError](), set[str]()
    unknown = [name for name in asked if table.column(name) is None]
    for place, name in enumerate(asked):
        column = table.column(name)
        if column is None:
            said = table.no_column(name) if name == unknown[0] else f"no column {name!r}"
            faults.append(FieldError(f"/data/features/{place}", said))
        elif name == encoder.target.name or name in seen:
            why = "it is named twice" if name in seen else "it is the target"
            faults.append(FieldError(f"/data/features/{place}", f"column {name!r}: {why}"))
        elif reason := encoder.why_unusable(column):
            faults.append(FieldError(f"/data/features/{place}", f"column {name!r}: {reason}"))
        else:
            features.append(encoder.feature(column))
        seen.add(name)
    if faults:
        raise InvalidSpec("some of the named features cannot be used", tuple(faults))
    return features


def _usable(
    spec: JobSpec, table: TableProfile, target: str, encoder: _Encoder
) -> tuple[list[Feature], list[SpecWarning]]:
    features, warnings = [], []
    images = row_shape(spec.architecture) is not None  # constant pixels keep the shape
    for column in table.columns:
        weight = spec.data.weight if isinstance(spec.data, DatasetData) else None
        if column.name in (target, weight, *spec.split.columns):
            continue
        constant = column.distinct == 1 and column.missing == 0 and not images
        index = column.name == table.index_column
        reason = encoder.why_unusable(column) or ("it is constant" if constant else _INDEX if index else None)
        if reason:
            message = f"column {column.name!r} is left out: {reason}"
            warnings.append(SpecWarning(code="column_left_out", message=message, pointer="/data/features"))
        else:
            features.append(encoder.feature(column))
    return features, warnings


class _Encoder:
    """Decides how the columns of a table are encoded."""

    def __init__(self, spec: JobSpec, table: TableProfile, target: Column) -> None:
        self._spec, self._rows, self.target = spec, table.rows, target

    def why_unusable(self, column: Column) -> str | None:
        """Why the column cannot be a feature; None if it can."""
        if column.type not in set(ColumnType):
            return f"a newer version of the service read it as {column.type.value}"
        if column.distinct == 0:
            return "it has no values"
        if column.type is not ColumnType.text or self._has_values(column) or _frequent(column):
            return None
        if column.values is None and column.top is None:
            return "its texts are too long, or too many, for categories"
        return f"too many rare values: none of its {column.distinct:,} distinct values has {MIN_CATEGORY_ROWS} rows"

    def feature(self, column: Column) -> Feature:
        """The encoding of a usable column."""
        indicator, preprocess = column.missing > 0, self._spec.preprocess
        if column.type is not ColumnType.text:
            return Feature(column.name, column.type, indicator=indicator, bins=self._bins(column))
        if self._has_values(column):
            return Feature(column.name, column.type, (), indicator=indicator, value_inputs=self._value_inputs)
        kept = _frequent(column)[: preprocess.max_categories]
        # An input that is hardly ever 1 in training keeps its initial weights, which every unseen value would then add.
        other = self._rows - column.missing - sum(count for count, _ in kept) >= MIN_CATEGORY_ROWS
        feature = Feature(column.name, column.type, tuple(sorted(text for _, text in kept)), other, indicator)
        if preprocess.categorical != "embedding":
            return feature
        size = preprocess.embedding_size
        return replace(feature, embedding_size=auto_embedding_size(codes_of(feature)) if size == "auto" else size)

    def _bins(self, column: Column) -> int:
        """Inputs of the piecewise-linear encoding, by the number of distinct values in the whole table."""
        preprocess = self._spec.preprocess
        if preprocess.numeric != "piecewise_linear" or column.type is ColumnType.boolean:
            return 0
        bins = min(preprocess.bins, column.distinct - 1)
        return bins if bins >= MIN_BINS else 0

    def _has_values(self, column: Column) -> bool:
        """Whether the frequency or mean target of each text is its input."""
        preprocess = self._spec.preprocess
        if column.type is not ColumnType.text or preprocess.high_cardinality == "most_frequent":
            return False
        repeated = column.distinct < self._rows - column.missing
        return repeated and (column.distinct > preprocess.max_categories or not _frequent(column))

    @cached_property
    def _value_inputs(self) -> int:
        """Inputs of a text column by frequency or mean target: one, or one a class."""
        if self._spec.preprocess.high_cardinality == "frequency":
            return 1
        classes = target_of(self.target, task_of(self._spec, self.target), "identity").classes
        return len(classes) if classes is not None and len(classes) > BINARY else 1


def _frequent(column: Column) -> list[tuple[int, str]]:
    """(rows, text) of the values that are frequent enough for a category, the most frequent first."""
    listed = column.values if column.values is not None else column.top or []
    common = [(value.count, str(value.value)) for value in listed if value.count >= MIN_CATEGORY_ROWS]
    return sorted(common, key=lambda found: (-found[0], found[1]))


def _rare_categories(table: TableProfile, features: list[Feature]) -> list[SpecWarning]:
    warnings = []
    for feature in features:
        column = table.column(feature.column)
        assert column is not None
        if feature.categories and (rest := column.distinct - len(feature.categories)):
            rest_is = "grouped as (other)" if feature.other else "encoded as zeros: too few rows"
            how = "one-hot encoded" if feature.embedding_size is None else "embedded"
            message = (
                f"column {column.name!r} has {column.distinct:,} distinct values: top {len(feature.categories)} {how},"
                f" rest ({rest:,}) {rest_is}"
            )
            warnings.append(SpecWarning(code="rare_categories", message=message, pointer="/data/features"))
    return warnings
