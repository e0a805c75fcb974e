"""Makes the profile of a version: from the training rows of its members, and from their held-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from service.data.formats import prediction_table
from service.data.formats.prediction_table import class_names
from service.data.preprocess.dataset import split_table
from service.data.preprocess.sources import load
from service.domain.checkpoint import METADATA_KEY, read_metadata
from service.domain.drift import ProfiledMember
from service.drift.bins import number_profile, text_profile
from service.drift.predictions import NOT_FINITE, mean_outputs, prediction_profiles
from service.drift.profile import ColumnProfile, Profile
from service.ensembling.held_out import WeightedMean
from service.errors import CheckpointCorrupt
from service.spec.column_reading import union
from service.spec.data import DatasetData
from service.spec.job import JobSpec
from service.spec.resolved import Feature, Preparation, Target
from service.spec.table import ColumnType, Value

MAX_COLUMNS = 1_000
BLOCK_CELLS = 20_000_000
"""Values that are read at once, in whole columns."""


class _Feature(BaseModel):
    column: str
    type: ColumnType = ColumnType.number
    categories: list[str] | None = None
    origin: float = 0.0


class _Target(BaseModel):
    column: str
    classes: list[Value] | None = None


class _Preprocessing(BaseModel):
    """How a checkpoint reads rows, as far as a profile depends on it."""

    features: list[_Feature]
    target: _Target


class _Metadata(BaseModel):
    preprocessing: _Preprocessing


NOT_KEPT = "the jobs of the version's members have not kept their predictions"
NONE_HELD_OUT = "the job had neither validation nor test rows"
NONE_OF_ALL = (
    "there are no rows that all members predicted without being trained on them, and the predictions of some members "
    "are not like those of all"
)


def profile_of(members: Sequence[ProfiledMember]) -> Profile:
    """The profile; raises CheckpointCorrupt, DatasetCorrupt, PredictionsCorrupt."""
    fitted = [_preprocessing(member.checkpoint) for member in members]
    rows, columns, reason = 0, list[ColumnProfile](), None
    try:
        sources = _sources(members, fitted)
    except ValidationError:
        reason = "a newer version of the service trained a member"
    else:
        features = reduce(union, (each.features for each in fitted))
        if len(features) > MAX_COLUMNS:
            reason = f"there are {len(features):,} columns, and at most {MAX_COLUMNS:,} are compared"
            rows, _ = _columns(sources, features[:1])
        else:
            rows, columns = _columns(sources, features)
    found = _held_out(members)
    predicted = None if isinstance(found, str) else found
    classes = fitted[0].target.classes
    names = None if classes is None else class_names(classes)
    return Profile(
        rows=rows,
        columns=columns,
        no_columns=reason,
        predicted_rows=0 if predicted is None else len(predicted),
        predictions=[] if predicted is None else prediction_profiles(predicted, names),
        no_predictions=found if isinstance(found, str) else None,
        means=[] if predicted is None else mean_outputs(predicted),
    )


def _columns(sources: Sequence[_Source], features: Sequence[_Feature]) -> tuple[int, list[ColumnProfile]]:
    """The number of training rows, and the profile of each column."""
    columns = list[ColumnProfile]()
    rows, width = 0, 1
    while len(columns) < len(features):
        block = features[len(columns) : len(columns) + width]
        parts = [_training_columns(source, block) for source in sources]
        columns += [_profile(feature, [found for _, found in parts]) for feature in block]
        rows = sum(count for count, _ in parts)
        width = max(1, BLOCK_CELLS // rows)
    return rows, columns


def _preprocessing(checkpoint: Path) -> _Preprocessing:
    try:
        with checkpoint.open("rb") as file:
            return _Metadata.model_validate_json(read_metadata(file)[METADATA_KEY]).preprocessing
    except (KeyError, ValidationError) as error:
        raise CheckpointCorrupt("the checkpoint does not describe its columns") from error


@dataclass(frozen=True)
class _Source:
    """Members that read the same table, with the same columns to split it by."""

    table: Path | None
    preparations: list[Preparation]


def _sources(members: Sequence[ProfiledMember], fitted: Sequence[_Preprocessing]) -> list[_Source]:
    found: dict[str, _Source] = {}
    for member, preprocessing in zip(members, fitted, strict=True):
        preparation = _preparation(JobSpec.model_validate(member.spec), preprocessing)
        data = preparation.data
        key = repr((data.id if isinstance(data, DatasetData) else data, preparation.split.columns))
        found.setdefault(key, _Source(member.table, [])).preparations.append(preparation)
    return list(found.values())


def _preparation(spec: JobSpec, fitted: _Preprocessing) -> Preparation:
    """As far as rows are read and split by it."""
    classes = fitted.target.classes
    target = Target(fitted.target.column, None if classes is None else tuple(classes))
    features = tuple(Feature(each.column, each.type) for each in fitted.features)
    return Preparation(spec.data, spec.split, spec.preprocess, features, target, null_values=(), date_format=None)


def _training_columns(source: _Source, block: Sequence[_Feature]) -> tuple[int, dict[str, NDArray[Any]]]:
    """The number of rows that any of the members was trained on, and those of the columns that the members read."""
    read = {each.column for preparation in source.preparations for each in preparation.features}
    wanted = tuple(Feature(each.column, each.type) for each in block if each.column in read)
    table = load(replace(source.preparations[0], features=wanted), source.table)
    rows = np.unique(np.concatenate([split_table(each, table).train for each in source.preparations]))
    return len(rows), {each.column: table.columns[each.column][rows] for each in wanted}


def _profile(feature: _Feature, parts: Sequence[dict[str, NDArray[Any]]]) -> ColumnProfile:
    values = np.concatenate([part[feature.column] for part in parts if feature.column in part])
    if values.dtype == object:
        return text_profile(feature.column, values)
    return number_profile(feature.column, feature.type, values)


def _held_out(members: Sequence[ProfiledMember]) -> NDArray[np.float64] | str:
    """(N, V) the weighted mean of all members for the rows that none of them was trained on, or why there is none.

    New rows are predicted by all members, whose mean is less certain than a single member: the predictions of single
    members would differ from them without any drift.
    """
    mean: WeightedMean | None = None
    for member in members:
        if member.predictions is None:
            return NOT_KEPT
        table = prediction_table.read(member.predictions)
        outputs = table.prediction[:, None] if table.probabilities is None else table.probabilities
        mean = mean or WeightedMean(outputs.shape[1], np.float64)
        mean.add(table.row, table.truth, outputs, member.weight)
    values = np.empty((0, 1)) if mean is None else mean.rows_of(len(members)).values
    if len(values):
        return values if np.isfinite(mean_outputs(values)).all() else NOT_FINITE
    return NONE_OF_ALL if len(members) > 1 else NONE_HELD_OUT
