"""Files of versions of models beside those of their members: one of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select

from service.domain.version_file import VersionFile, VersionFileKind
from service.errors import NotFound
from service.store.maintenance import garbage
from service.store.maintenance.artifact_refs import referenced
from service.store.model_tables import model_version_files, model_versions
from service.store.models import aliases
from service.store.models.models import lock
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


def folder(connection: Connection, name: str, version: int) -> str:
    """The first part of the keys of this version's files, without a slash at its end; raises NotFound."""
    return f"models/{aliases.require_model(connection, name)}-{version}"


def find(connection: Connection, name: str, version: int, kind: VersionFileKind) -> VersionFile | None:
    """The file of this kind of the version, if it has one; raises NotFound for an unknown model."""
    model_id = aliases.require_model(connection, name)
    query = select(model_version_files).where(_of_version(connection, model_id, version))
    row = connection.execute(query.where(model_version_files.c.kind == kind)).first()
    return None if row is None else VersionFile.model_validate(dict(row._mapping), extra="ignore")


def replace(connection: Connection, name: str, version: int, file: VersionFile) -> None:
    """Store the row of a file in place of an earlier one of its kind; raises NotFound if the version was deleted.

    The model is locked: another process may store the same kind of file, or delete the version.
    """
    model_id = lock(connection, name).id
    same = model_versions.c.model_id == model_id, model_versions.c.version == version
    this = select(model_versions.c.version).where(in_tenant(connection, model_versions), *same)
    if connection.scalar(this) is None:
        raise NotFound(f"the model {name!r} has no version {version}")
    of_kind = and_(_of_version(connection, model_id, version), model_version_files.c.kind == file.kind)
    old = set(connection.scalars(select(model_version_files.c.path).where(of_kind))) - {file.path}
    connection.execute(delete(model_version_files).where(of_kind))
    key = {"model_id": model_id, "version": version, "tenant": tenant_of(connection)}
    connection.execute(insert(model_version_files).values(**key, **file.model_dump()))
    garbage.discard(connection, old - referenced(connection, old))


def _of_version(connection: Connection, model_id: str, version: int) -> ColumnElement[bool]:
    return and_(
        in_tenant(connection, model_version_files),
        model_version_files.c.model_id == model_id,
        model_version_files.c.version == version,
    )
