"""Members of a new version: read from their jobs and checkpoint files, and compared with each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from service.api.models.selection import conflict
from service.artifacts import sha256_of
from service.domain.checkpoint import METADATA_KEY, CheckpointKind, read_metadata
from service.domain.job_file import JobFileKind
from service.domain.model import MemberDataset, ModelMember, Signature
from service.errors import CheckpointCorrupt, InvalidSpec, NotFound
from service.spec.column_reading import difference, union
from service.spec.data import DatasetData
from service.spec.job import JobSpec
from service.spec.table import ColumnType, Value
from service.store import checkpoints, datasets, job_files
from service.store.jobs import jobs
from service.store.models.versions import NewMember

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from service.api.context import RequestContext
    from service.api.models.selection import Chosen
    from service.domain.checkpoint import Checkpoint
    from service.domain.job import Job
    from service.domain.job_file import JobFile


class _Target(BaseModel):
    column: str
    classes: list[Value] | None = None


class _Feature(BaseModel):
    column: str
    type: ColumnType = ColumnType.number
    categories: list[str] | None = None
    origin: float = 0.0


class Preprocessing(BaseModel):
    """How a checkpoint reads rows, and what it predicts."""

    features: list[_Feature]
    target: _Target
    null_values: list[str] = []
    date_format: str | None = None

    @property
    def signature(self) -> Signature:
        """What the checkpoint takes and gives."""
        classes = self.target.classes
        return Signature(
            task="regression" if classes is None else "classification",
            target=self.target.column,
            classes=classes,
            features=[feature.column for feature in self.features],
        )


class _Metadata(BaseModel):
    """What a version needs of a checkpoint's metadata."""

    preprocessing: Preprocessing


def read_members(context: RequestContext, chosen: Sequence[Chosen]) -> tuple[list[NewMember], Signature]:
    """The members, with weights that sum to 1, and what they predict from the columns of all of them.

    Raises InvalidSpec for an unknown job and for one that does not fit the ones before, Conflict for one that has not
    ended or has no best epoch, CheckpointCorrupt.
    """
    found = [_job_of(context, each) for each in chosen]
    named = _datasets(context, [job for job, _, _ in found])
    total = sum(each.weight for each in chosen)
    members, merged = list[NewMember](), None
    for each, (job, checkpoint, predictions) in zip(chosen, found, strict=True):
        described = read_preprocessing(context.state.artifacts.path(checkpoint.path, checkpoint.sha256), checkpoint)
        if merged is None:
            merged = described
        elif differing := _difference(merged, described):
            message = f"the job {each.job!r} {differing}: all members of a version must agree"
            raise InvalidSpec.at(each.pointer, message)
        else:
            merged.features = union(merged.features, described.features)
        member = _member(job, checkpoint, each.weight / total, named)
        members.append(NewMember(member, checkpoint.path, predictions))
    assert merged is not None
    return members, merged.signature


def _job_of(context: RequestContext, chosen: Chosen) -> tuple[Job, Checkpoint, JobFile | None]:
    """The job, its best checkpoint, and the file of its predictions, if it has kept them."""
    with context.database.reading() as connection:
        try:
            job = jobs.get(connection, chosen.job)
        except NotFound as error:
            raise InvalidSpec.at(chosen.pointer, error.detail) from error
        checkpoint = checkpoints.of_jobs(connection, [job.id], CheckpointKind.best).get(job.id)
        predictions = job_files.find(connection, job.id, JobFileKind.predictions)
    if not job.status.terminal:
        raise conflict(chosen.pointer, f"the job {job.id!r} is {job.status.value}; wait until it has ended")
    if checkpoint is None:
        raise conflict(chosen.pointer, f"the job {job.id!r} is {job.status.value} and has no best epoch")
    return job, checkpoint, predictions


def _datasets(context: RequestContext, found: Sequence[Job]) -> dict[str, MemberDataset]:
    """The data sets of these jobs that still exist, by id."""
    wanted = {name for job in found if (name := _dataset_id(job)) is not None}
    with context.database.reading() as connection:
        sources = datasets.sources(connection, wanted)
    return {key: MemberDataset(id=key, name=name, sha256=sha256) for key, (name, sha256) in sources.items()}


def _dataset_id(job: Job) -> str | None:
    data = job.spec.data if isinstance(job.spec, JobSpec) else None
    return data.id if isinstance(data, DatasetData) else None


def _member(job: Job, checkpoint: Checkpoint, weight: float, named: dict[str, MemberDataset]) -> ModelMember:
    spec: dict[str, Any] = job.spec.model_dump(mode="json") if isinstance(job.spec, JobSpec) else job.spec
    return ModelMember(
        job=job.id,
        weight=weight,
        epoch=checkpoint.epoch,
        sha256=checkpoint.sha256,
        size_bytes=checkpoint.size_bytes,
        metrics=checkpoint.metrics,
        test_metrics=None if job.test is None else job.test.metrics,
        dataset=named.get(_dataset_id(job) or ""),
        spec=spec,
    )


def data_of(spec: Mapping[str, Any]) -> str:
    """What rows a job has: its data set, or the inline or synthetic data."""
    data = spec.get("data", {})
    return str(data["id"]) if data.get("kind") == "dataset" else json.dumps(data, sort_keys=True)


def read_preprocessing(path: Path, checkpoint: Checkpoint) -> Preprocessing:
    """The preprocessing of a checkpoint, from its file, whose SHA-256 is verified; raises CheckpointCorrupt."""
    try:
        if sha256_of(path) != checkpoint.sha256:
            raise CheckpointCorrupt(
                f"the file of the {checkpoint.kind.value} checkpoint is damaged ({checkpoint.path})"
            )
        with path.open("rb") as file:
            return _Metadata.model_validate_json(read_metadata(file)[METADATA_KEY]).preprocessing
    except OSError as error:
        raise CheckpointCorrupt(f"the checkpoint's file cannot be read: {error.strerror}") from error
    except (KeyError, ValidationError) as error:
        raise CheckpointCorrupt(f"the checkpoint does not describe its columns ({checkpoint.path})") from error


def _difference(first: Preprocessing, other: Preprocessing) -> str | None:
    """What keeps `other` from being a member beside the first ones; None if it fits."""
    one, another = first.signature, other.signature
    if another.target != one.target:
        return f"predicts {another.target!r}, the first one {one.target!r}"
    if another.task != one.task:
        return f"is a {another.task}, the first one a {one.task}"
    if list(map(repr, another.classes or ())) != list(map(repr, one.classes or ())):  # 1 and true are equal
        return "has other classes than the first one"
    if differing := difference(first, other):
        return f"reads {differing} than the ones before"
    return None
