"""Models: read, find, delete, and the lock that every change of a model takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from service.domain.model import Model
from service.errors import Conflict, NotFound, Unavailable
from service.store.ids import new_id
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.store.model_tables import (
    model_aliases,
    model_member_files,
    model_members,
    model_version_files,
    model_versions,
    models,
)
from service.store.models import aliases
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row


def lock_or_create(connection: Connection, name: str) -> Row[Any]:
    """Lock the model of this name, created if there is none, until the transaction ends."""
    this = select(models).where(in_tenant(connection, models), models.c.name == name).with_for_update()
    row = connection.execute(this).first()
    if row is not None:
        return row
    values = {"id": new_id("mdl"), "tenant": tenant_of(connection), "name": name, "latest": 0}
    try:
        with connection.begin_nested():
            connection.execute(insert(models).values(**values, created_at=datetime.now(UTC)))
    except IntegrityError:  # another request has just created it
        pass
    row = connection.execute(this).first()
    if row is None:
        raise Unavailable(f"the model {name!r} was deleted at the same time; try again")
    return row


def lock(connection: Connection, name: str) -> Row[Any]:
    """Lock the model of this name until the transaction ends; raises NotFound."""
    query = select(models).where(in_tenant(connection, models), models.c.name == name).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no model {name!r}")
    return row


def get(connection: Connection, name: str) -> Model:
    """The model of this name; raises NotFound."""
    query = select(models).where(in_tenant(connection, models), models.c.name == name)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"no model {name!r}")
    return _models(connection, [row])[0]


def find(
    connection: Connection, *, name: str | None = None, job: str | None = None, limit: int, after: str | None = None
) -> list[Model]:
    """Models with this name, and with a version that has this job, newest first, older than the model `after`."""
    query = select(models).where(in_tenant(connection, models))
    if name is not None:
        query = query.where(models.c.name == name)
    if job is not None:
        using = select(model_members.c.model_id).where(in_tenant(connection, model_members), model_members.c.job == job)
        query = query.where(models.c.id.in_(using))
    if after is not None:
        query = query.where(models.c.id < after)
    return _models(connection, connection.execute(query.order_by(models.c.id.desc()).limit(limit)).all())


def remove(connection: Connection, name: str) -> None:
    """Delete a model with all its versions; their files are collected later, unless their jobs still exist.

    Raises NotFound, and Conflict while an alias points to a version.
    """
    row = lock(connection, name)
    of_model = and_(in_tenant(connection, model_aliases), model_aliases.c.model_id == row.id)
    query = select(model_aliases.c.alias, model_aliases.c.version).where(of_model).order_by(model_aliases.c.alias)
    pointing = connection.execute(query).first()
    if pointing is not None:
        raise Conflict(
            f"the alias {pointing.alias!r} points to version {pointing.version} of this model; delete it first"
        )
    paths = paths_of(connection, row.id)
    connection.execute(delete(models).where(in_tenant(connection, models), models.c.id == row.id))
    garbage.discard(connection, paths - referenced(connection, paths))


def paths_of(connection: Connection, model_id: str, version: int | None = None) -> set[str]:
    """Artifact keys of the files that this version, or all versions, of a model keep."""
    found = set[str]()
    for table in (model_members, model_member_files, model_version_files):
        query = select(table.c.path).where(in_tenant(connection, table), table.c.model_id == model_id)
        found.update(connection.scalars(query if version is None else query.where(table.c.version == version)))
    return found


def _models(connection: Connection, rows: Sequence[Row[Any]]) -> list[Model]:
    """The records of these rows, with their counts and aliases in one statement each."""
    ids = [row.id for row in rows]
    counted = (
        select(
            model_versions.c.model_id, func.count().label("number"), func.max(model_versions.c.version).label("last")
        )
        .where(in_tenant(connection, model_versions), model_versions.c.model_id.in_(ids))
        .group_by(model_versions.c.model_id)
    )
    counts = {row.model_id: (row.number, row.last) for row in connection.execute(counted)}
    named = aliases.of_models(connection, ids)
    return [
        Model(
            id=row.id,
            name=row.name,
            versions=counts.get(row.id, (0, None))[0],
            latest=counts.get(row.id, (0, None))[1],
            aliases=named.get(row.id, []),
            created_at=row.created_at,
        )
        for row in rows
    ]
