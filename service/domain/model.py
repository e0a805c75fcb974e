"""Published models: a name, immutable versions, and aliases that point to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.domain.access import Actor
from service.domain.prediction import ModelCalibration
from service.spec.base import FrozenModel
from service.spec.model import VersionSource
from service.spec.table import Value

CHAMPION = "champion"
"""The alias that `/v1/models/NAME/predict` follows; the first version of a model gets it."""


class ModelAlias(FrozenModel):
    """An alias of a model."""

    object: Literal["model_alias"] = "model_alias"
    """What this JSON object is."""
    alias: str
    """The alias."""
    version: int
    """The version that it points to."""
    previous: int | None
    """The version to roll back to: the one before, as far as it still exists."""
    moved_at: datetime
    """When it was moved here (UTC)."""
    moved_by: Actor
    """Who moved it."""


class AliasMoved(FrozenModel):
    """A move of an alias."""

    number: int
    """Counted from 1 for each alias."""
    from_version: int | None
    """The version before; null: the alias did not exist."""
    to_version: int | None
    """The version since; null: the alias was deleted."""
    at: datetime
    """When (UTC)."""
    by: Actor
    """Who moved it."""


class Model(FrozenModel):
    """A model: a name for versions of a network or an ensemble."""

    id: str
    """The model's id; ids sort by creation."""
    object: Literal["model"] = "model"
    """What this JSON object is."""
    name: str
    """The name, which is part of its address."""
    versions: int
    """Number of versions, without deleted ones."""
    latest: int | None
    """The newest version; null if all are deleted."""
    aliases: list[ModelAlias]
    """Its aliases, by name."""
    created_at: datetime
    """When its first version was made (UTC)."""


class Signature(FrozenModel):
    """What a version takes and gives."""

    task: str
    """`classification` or `regression`."""
    target: str
    """The column that it predicts."""
    classes: list[Value] | None
    """The classes in the order of the probabilities; null for regression."""
    features: list[str]
    """The columns that it needs, those of all members."""
    calibration: ModelCalibration | None = None
    """How its predictions are calibrated, or why not; null for versions of before, which stay raw."""


class HeldOutMetrics(FrozenModel):
    """Metrics of the weighted average on rows that no member in the average was trained on."""

    rows: int
    """Number of rows."""
    values: dict[str, float | None]
    """The metrics by name; null where undefined."""


class VersionMetrics(FrozenModel):
    """Metrics of a version as a whole, from the predictions that its members' jobs have kept."""

    validation: HeldOutMetrics | None
    """Out-of-fold: each row that a member validated on, predicted by the weighted average of those members. Optimistic,
    as these rows chose the best epochs, and for `greedy` the weights. Null without kept predictions."""
    test: HeldOutMetrics | None
    """The rows that are test rows of all members. Null without such rows, and without kept predictions."""


class MemberDataset(FrozenModel):
    """The data set that a member was trained on."""

    id: str
    """The data set's id; it may have been deleted since."""
    name: str | None
    """Its name."""
    sha256: str
    """SHA-256 of the uploaded file."""


class ModelMember(FrozenModel):
    """A member of a version: the best epoch of a job, with what it was made from."""

    job: str
    """The job's id; it may have been deleted since."""
    weight: float
    """Its share in the average; those of all members sum to 1."""
    epoch: int
    """The epoch of the weights."""
    sha256: str
    """SHA-256 of the safetensors file."""
    size_bytes: int
    """Size of the safetensors file in bytes."""
    metrics: dict[str, float | None]
    """Losses and validation metrics of the member alone at that epoch."""
    test_metrics: dict[str, float | None] | None
    """Metrics of the member alone on its test rows; null without a test split."""
    dataset: MemberDataset | None
    """Its data set; null for inline and synthetic data, and where the data set was deleted before."""
    spec: dict[str, Any]
    """The job's spec, with every default."""


class ModelVersionSummary(FrozenModel):
    """A version of a model: an immutable weighted average of best checkpoints."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    object: Literal["model_version"] = "model_version"
    """What this JSON object is."""
    model: str
    """The model's name."""
    version: int
    """Counted from 1; the number of a deleted version is not used again."""
    description: str | None
    """What is special about it."""
    aliases: list[str]
    """The aliases that point to it."""
    source: Annotated[VersionSource | SkipJsonSchema[dict[str, Any]], Field(alias="from", union_mode="left_to_right")]
    """What it was made of, as requested."""
    task: str
    """`classification` or `regression`."""
    target: str
    """The column that it predicts."""
    metrics: VersionMetrics
    """Metrics of the average."""
    calibration: ModelCalibration | None = None
    """How its probabilities are calibrated for good, and by how many rows its intervals, or why not; null for versions
    of before, which stay raw."""
    member_count: int
    """Number of members."""
    service_version: str
    """The version of the service that made it."""
    created_at: datetime
    """When it was made (UTC)."""
    created_by: Actor
    """Who made it."""


class ModelVersion(ModelVersionSummary):
    """A version of a model with its members."""

    classes: list[Value] | None
    """The classes in the order of the probabilities; null for regression."""
    features: list[str]
    """The columns that it needs, those of all members."""
    members: list[ModelMember]
    """Its members, with their lineage."""
