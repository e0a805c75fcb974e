"""Collects the inputs of reports and evaluations of a version: files of its members, their specs, the data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from service.api.models.members import data_of
from service.domain.report import EvaluationInputs, ReportedMember, ReportInputs, StoredFile
from service.errors import Conflict, InvalidSpec, NotFound
from service.spec.data import DatasetData
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.store import datasets
from service.store.models import versions

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.domain.model import ModelMember
    from service.domain.model_ref import ModelRef
    from service.spec.data import Data
    from service.spec.resolved import Resolved
    from service.spec.table import TableProfile
    from service.store.models.aliases import ServedVersion

DELETED = "the data set was deleted"
UNREADABLE = "another version of the service wrote the spec of a member, and this one cannot read it"


def version_report_inputs(context: RequestContext, served: ServedVersion) -> ReportInputs:
    """The inputs of the report on a version. Raises NotFound, Conflict without predictions of rows of the same data."""
    with context.database.reading() as connection:
        members = versions.get(connection, served.name, served.version).members
    if reason := _without_predictions(served, members):
        raise Conflict(f"the version has no report: {reason}")
    table, profile, reason = _table(context, members[0])
    resolved: list[Resolved | None] = [None] * len(members)
    if profile is not None:
        try:
            resolved = [resolve(JobSpec.model_validate(member.spec), profile) for member in members]
        except (ValidationError, InvalidSpec):
            reason = UNREADABLE
    path = context.state.artifacts.path
    reported = []
    for file, job, member in zip(served.members, resolved, members, strict=True):
        assert file.predictions is not None
        key, sha256 = file.predictions
        checkpoint = StoredFile(path(file.path, file.sha256), file.sha256)
        reported.append(ReportedMember(StoredFile(path(key, sha256), sha256), checkpoint, job, member.weight))
    return ReportInputs(tuple(reported), table, reason, (served.name, served.version))


def evaluation_inputs(context: RequestContext, served: ServedVersion, model: ModelRef) -> EvaluationInputs:
    """The inputs of an evaluation, without its rows. Raises NotFound."""
    with context.database.reading() as connection:
        members = versions.get(connection, served.name, served.version).members
    return EvaluationInputs(model, (served.name, served.version), _without_predictions(served, members))


def _without_predictions(served: ServedVersion, members: list[ModelMember]) -> str | None:
    """Why there are no held-out predictions of the version; None if there are."""
    for file, member in zip(served.members, members, strict=True):
        if file.predictions is None and _all_rows_trained(member):
            return f"its member {member.job!r} had neither validation nor test rows: all rows trained it"
        if file.predictions is None:
            return (
                f"its member {member.job!r} has kept no predictions when it ended; include `predictions` in "
                "BESTEPOCH_KEEP, train it again, and publish a version of it"
            )
    different = len({data_of(member.spec) for member in members}) > 1
    return "its members were trained on different data" if different else None


def _all_rows_trained(member: ModelMember) -> bool:
    try:
        split = JobSpec.model_validate(member.spec).split
    except ValidationError:
        return False
    return not split.validates and not split.test and split.column is None


def _table(context: RequestContext, member: ModelMember) -> tuple[StoredFile | None, TableProfile | None, str | None]:
    """The stored table, its profile, and why the columns cannot be read."""
    try:
        data: Data = JobSpec.model_validate(member.spec).data
    except ValidationError:
        return None, None, UNREADABLE
    if not isinstance(data, DatasetData):
        return None, profile_of(data), None
    try:
        with context.database.reading() as connection:
            key, sha256 = datasets.file_of(connection, data.id)
            profile = datasets.get(connection, data.id).profile
    except NotFound:
        return None, None, DELETED
    return StoredFile(context.state.artifacts.path(key, sha256), sha256), profile, None
