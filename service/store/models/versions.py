"""Versions of models: created once with their members, read, deleted; members own their checkpoint files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.domain.checkpoint import CheckpointKind
from service.domain.job_file import JobFile
from service.domain.model import (
    CHAMPION,
    ModelMember,
    ModelVersion,
    ModelVersionSummary,
    Signature,
    VersionMetrics,
)
from service.errors import Conflict, IdempotencyMismatch, NotFound
from service.spec.model import VersionSource
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.store.model_tables import model_member_files, model_members, model_versions, models
from service.store.models import aliases
from service.store.models.models import lock, lock_or_create, paths_of
from service.store.schema import checkpoints, jobs
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from service.domain.access import Actor


@dataclass(frozen=True)
class NewMember:
    """A member of a new version, the artifact key of its weights, and the file of its job's predictions, if kept."""

    member: ModelMember
    path: str
    predictions: JobFile | None = None


@dataclass(frozen=True)
class NewModelVersion:
    """A version to be stored: everything that was computed outside of transactions."""

    name: str
    description: str | None
    alias: str | None
    source: VersionSource
    signature: Signature
    metrics: VersionMetrics
    members: Sequence[NewMember]
    created_by: Actor
    service_version: str


def create(
    connection: Connection,
    new: NewModelVersion,
    *,
    idempotency_key: str | None = None,
    request_sha256: str | None = None,
) -> tuple[ModelVersion, bool]:
    """Store the next version of its model; (version, False) if this Idempotency-Key and request were accepted before.

    The first version of a model gets the alias `champion`. Raises NotFound when a job was deleted meanwhile,
    IdempotencyMismatch, and Conflict.
    """
    if idempotency_key and (known := by_idempotency_key(connection, idempotency_key, request_sha256)):
        return known, False
    _lock_checkpoints(connection, new.members)
    try:
        with connection.begin_nested():
            number = _insert(connection, new, {"idempotency_key": idempotency_key, "request_sha256": request_sha256})
    except IntegrityError:
        if idempotency_key and (known := by_idempotency_key(connection, idempotency_key, request_sha256)):
            return known, False
        raise
    return get(connection, new.name, number), True


def _lock_checkpoints(connection: Connection, members: Sequence[NewMember]) -> None:
    """Prevent deletion of these jobs until the transaction ends: from then on, the version refers to their files."""
    wanted = {new.member.job: new.path for new in members}
    these = and_(in_tenant(connection, jobs), jobs.c.id.in_(list(wanted)))
    held = select(jobs.c.id).where(these).order_by(jobs.c.id).with_for_update(read=True, key_share=True)
    known = set(connection.scalars(held))
    best = and_(in_tenant(connection, checkpoints), checkpoints.c.kind == CheckpointKind.best)
    query = select(checkpoints.c.job_id, checkpoints.c.path).where(best, checkpoints.c.job_id.in_(list(known)))
    found = {row.job_id: row.path for row in connection.execute(query)}
    for job_id, path in wanted.items():
        if found.get(job_id) != path:
            raise NotFound(f"no job {job_id!r}")


def _insert(connection: Connection, new: NewModelVersion, keys: dict[str, Any]) -> int:
    """Insert the rows of the version; returns its number."""
    model, tenant = lock_or_create(connection, new.name), tenant_of(connection)
    number: int = model.latest + 1
    this = and_(in_tenant(connection, models), models.c.id == model.id)
    connection.execute(update(models).where(this).values(latest=number))
    documents = {name: getattr(new, name).model_dump(mode="json") for name in ("signature", "metrics", "created_by")}
    documents["source"] = new.source.model_dump(mode="json", exclude_none=True)
    key = {"model_id": model.id, "version": number, "tenant": tenant}
    text = {"description": new.description, "service_version": new.service_version, "created_at": datetime.now(UTC)}
    connection.execute(insert(model_versions).values(**key, **documents, **text, **keys))
    rows = [
        {**key, "place": place, **each.member.model_dump(mode="json"), "path": each.path}
        for place, each in enumerate(new.members)
    ]
    connection.execute(insert(model_members), rows)
    files = [
        {**key, "place": place, **each.predictions.model_dump(exclude={"created_at"})}
        for place, each in enumerate(new.members)
        if each.predictions is not None
    ]
    if files:
        connection.execute(insert(model_member_files), files)
    for alias in dict.fromkeys(([CHAMPION] if number == 1 else []) + ([new.alias] if new.alias else [])):
        aliases.move(connection, model.id, alias, number, new.created_by)
    return number


def by_idempotency_key(connection: Connection, key: str, request_sha256: str | None) -> ModelVersion | None:
    """The version that this Idempotency-Key created, if it still exists; raises IdempotencyMismatch."""
    where = and_(in_tenant(connection, model_versions), model_versions.c.idempotency_key == key)
    row = connection.execute(_versions(connection).where(where)).first()
    if row is not None and row.request_sha256 != request_sha256:
        raise IdempotencyMismatch
    return None if row is None else _with_members(connection, row)


def get(connection: Connection, name: str, version: int) -> ModelVersion:
    """This version of the model; raises NotFound."""
    where = and_(models.c.name == name, model_versions.c.version == version)
    row = connection.execute(_versions(connection).where(where)).first()
    if row is None:
        aliases.require_model(connection, name)
        raise NotFound(f"the model {name!r} has no version {version}")
    return _with_members(connection, row)


def find(
    connection: Connection, name: str, *, job: str | None = None, limit: int, before: int | None = None
) -> list[ModelVersionSummary]:
    """Versions of the model, newest first, those before the version `before`; `job`: only those that have this member.

    Raises NotFound.
    """
    model_id = aliases.require_model(connection, name)
    query = _versions(connection).where(model_versions.c.model_id == model_id)
    if job is not None:
        of_model = in_tenant(connection, model_members) & (model_members.c.model_id == model_id)
        using = select(model_members.c.version).where(of_model, model_members.c.job == job)
        query = query.where(model_versions.c.version.in_(using))
    if before is not None:
        query = query.where(model_versions.c.version < before)
    rows = connection.execute(query.order_by(model_versions.c.version.desc()).limit(limit)).all()
    counted = (
        select(model_members.c.version, func.count().label("number"))
        .where(_members(connection, model_id), model_members.c.version.in_([row.version for row in rows]))
        .group_by(model_members.c.version)
    )
    counts = {row.version: row.number for row in connection.execute(counted)}
    pointing: dict[int, list[str]] = {}
    for alias in aliases.of_models(connection, [model_id]).get(model_id, []):
        pointing.setdefault(alias.version, []).append(alias.alias)
    return [
        ModelVersionSummary(
            **_fields(row), aliases=pointing.get(row.version, []), member_count=counts.get(row.version, 0)
        )
        for row in rows
    ]


def remove(connection: Connection, name: str, version: int) -> None:
    """Delete a version; its files are collected later, unless a job or another version has them.

    Raises NotFound, and Conflict while an alias points to it.
    """
    model = lock(connection, name)
    this = and_(
        in_tenant(connection, model_versions),
        model_versions.c.model_id == model.id,
        model_versions.c.version == version,
    )
    pointing = aliases.pointing(connection, model.id, version)
    if pointing:
        names = ", ".join(map(repr, pointing))
        raise Conflict(f"the alias {names} points to this version; move or delete it first")
    paths = paths_of(connection, model.id, version)
    if connection.execute(delete(model_versions).where(this)).rowcount == 0:
        raise NotFound(f"the model {name!r} has no version {version}")
    garbage.discard(connection, paths - referenced(connection, paths))


def _versions(connection: Connection) -> Select[Any]:
    """All versions of the tenant with the name of their model."""
    query = select(model_versions, models.c.name.label("model")).join(models, models.c.id == model_versions.c.model_id)
    return query.where(in_tenant(connection, model_versions, models))


def _members(connection: Connection, model_id: str) -> ColumnElement[bool]:
    return and_(in_tenant(connection, model_members), model_members.c.model_id == model_id)


def _with_members(connection: Connection, row: Row[Any]) -> ModelVersion:
    of_version = _members(connection, row.model_id), model_members.c.version == row.version
    query = select(model_members).where(*of_version).order_by(model_members.c.place)
    members = [ModelMember.model_validate(dict(each._mapping), extra="ignore") for each in connection.execute(query)]
    pointing = aliases.pointing(connection, row.model_id, row.version)
    return ModelVersion(**_fields(row), aliases=pointing, member_count=len(members), members=members)


def _fields(row: Row[Any]) -> dict[str, Any]:
    """The columns of a version; `source` may have been written by a newer version of the service."""
    fields = {**row.signature, **row._mapping}
    return {name: fields[name] for name in ModelVersion.model_fields.keys() & fields.keys()}
