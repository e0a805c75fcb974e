"""Feature selection: which columns become features, and how each is encoded, by the stored profile alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from service.errors import FieldError, InvalidSpec
from service.spec import data_warnings
from service.spec.architecture import row_shape
from service.spec.data import DatasetData
from service.spec.resolved import Feature, SpecWarning, auto_embedding_size, codes_of
from service.spec.table import MIN_CATEGORY_ROWS, ColumnType

if TYPE_CHECKING:
    from service.spec.data import Preprocess
    from service.spec.job import JobSpec
    from service.spec.table import Column, TableProfile

_INDEX = "it has no name in the file, as a row index; name it in data.features to use it"


@dataclass(frozen=True)
class Inputs:
    """The target and the features that the `data` of a spec selects."""

    target: Column
    features: tuple[Feature, ...]
    warnings: tuple[SpecWarning, ...]


def choose_inputs(spec: JobSpec, table: TableProfile) -> Inputs:
    """The target and the features, with warnings about columns that are left out, or should be.

    A function of the table and of `data`, `preprocess`, the columns that `split` names (which are features only if
    named) and whether the architecture takes rows as images. Raises InvalidSpec with a pointer to each wrong column.
    """
    data = spec.data
    target = _target_column(table, data.target if isinstance(data, DatasetData) else "y")
    asked = data.features if isinstance(data, DatasetData) else None
    if asked is None:
        features, warnings = _usable(spec, table, target.name)
    else:
        features, warnings = _named(spec, table, asked), []
    if isinstance(data, DatasetData) and data.weight is not None:
        _check_weight(table, data.weight)
    if not features:
        raise InvalidSpec.at("/data/features", "no usable feature column is left")
    warnings += _rare_categories(table, features)
    warnings += data_warnings.of_features(table, target, [feature.column for feature in features])
    return Inputs(target, tuple(features), tuple(warnings))


def _target_column(table: TableProfile, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise InvalidSpec.at("/data/target", f"no column {name!r}; there are: {table.some_names}")
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


def _check_weight(table: TableProfile, name: str) -> None:
    column = table.column(name)
    if column is None:
        raise InvalidSpec.at("/data/weight", f"no column {name!r}; there are: {table.some_names}")
    if not isinstance(column.min, float) or not isinstance(column.max, float):
        raise InvalidSpec.at("/data/weight", f"column {name!r} is {column.type.value}; a weight is a number")
    if column.missing:
        raise InvalidSpec.at("/data/weight", f"column {name!r} has no value in {column.missing:,} rows")
    if column.min < 0 or column.max == 0:
        reason = f"holds {column.min:g}" if column.min < 0 else "holds nothing but 0"
        raise InvalidSpec.at("/data/weight", f"column {name!r} {reason}; weights are 0 or more, and some above 0")


def _named(spec: JobSpec, table: TableProfile, asked: list[str]) -> list[Feature]:
    features, faults = [], []
    for place, name in enumerate(asked):
        column = table.column(name)
        if column is None:
            faults.append(FieldError(f"/data/features/{place}", f"no column {name!r}"))
        elif reason := _why_unusable(column):
            faults.append(FieldError(f"/data/features/{place}", f"column {name!r}: {reason}"))
        else:
            features.append(_feature(column, table.rows, spec.preprocess))
    if faults:
        raise InvalidSpec("some of the named features cannot be used", tuple(faults))
    return features


def _usable(spec: JobSpec, table: TableProfile, target: str) -> tuple[list[Feature], list[SpecWarning]]:
    features, warnings = [], []
    images = row_shape(spec.architecture) is not None  # constant pixels keep the shape
    for column in table.columns:
        weight = spec.data.weight if isinstance(spec.data, DatasetData) else None
        if column.name in (target, weight, *spec.split.columns):
            continue
        constant = column.distinct == 1 and column.missing == 0 and not images
        index = column.name == table.index_column
        reason = _why_unusable(column) or ("it is constant" if constant else _INDEX if index else None)
        if reason:
            message = f"column {column.name!r} is left out: {reason}"
            warnings.append(SpecWarning(code="column_left_out", message=message, pointer="/data/features"))
        else:
            features.append(_feature(column, table.rows, spec.preprocess))
    return features, warnings


def _why_unusable(column: Column) -> str | None:
    if column.type not in set(ColumnType):
        return f"a newer version of the service read it as {column.type.value}"
    if column.distinct == 0:
        return "it has no values"
    if column.type is not ColumnType.text or _frequent(column):
        return None
    if column.values is None and column.top is None:
        return "its texts are too long, or too many, for categories"
    return f"too many rare values: none of its {column.distinct:,} distinct values has {MIN_CATEGORY_ROWS} rows"


def _frequent(column: Column) -> list[tuple[int, str]]:
    """(rows, text) of the values that are frequent enough for a category, the most frequent first."""
    listed = column.values if column.values is not None else column.top or []
    common = [(value.count, str(value.value)) for value in listed if value.count >= MIN_CATEGORY_ROWS]
    return sorted(common, key=lambda found: (-found[0], found[1]))


def _feature(column: Column, rows: int, preprocess: Preprocess) -> Feature:
    indicator = column.missing > 0
    if column.type is not ColumnType.text:
        return Feature(column.name, column.type, indicator=indicator)
    kept = _frequent(column)[: preprocess.max_categories]
    # An input that is hardly ever 1 in training keeps its initial weights, which every unseen value would then add.
    other = rows - column.missing - sum(count for count, _ in kept) >= MIN_CATEGORY_ROWS
    feature = Feature(column.name, column.type, tuple(sorted(text for _, text in kept)), other, indicator)
    if preprocess.categorical != "embedding":
        return feature
    size = preprocess.embedding_size
    return replace(feature, embedding_size=auto_embedding_size(codes_of(feature)) if size == "auto" else size)


def _rare_categories(table: TableProfile, features: list[Feature]) -> list[SpecWarning]:
    warnings = []
    for feature in features:
        column = table.column(feature.column)
        assert column is not None
        if feature.categories is not None and (rest := column.distinct - len(feature.categories)):
            rest_is = "grouped as (other)" if feature.other else "encoded as zeros: too few rows"
            how = "one-hot encoded" if feature.embedding_size is None else "embedded"
            message = (
                f"column {column.name!r} has {column.distinct:,} distinct values: top {len(feature.categories)} {how},"
                f" rest ({rest:,}) {rest_is}"
            )
            warnings.append(SpecWarning(code="rare_categories", message=message, pointer="/data/features"))
    return warnings
