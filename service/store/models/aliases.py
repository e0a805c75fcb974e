"""Aliases of models: atomic moves with a log, and what an address points to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from service.domain.job_file import JobFileKind
from service.domain.model import AliasMoved, ModelAlias
from service.domain.prediction import ModelCalibration
from service.errors import Conflict, NotFound
from service.store.model_tables import (
    alias_moves,
    model_aliases,
    model_member_files,
    model_members,
    model_versions,
    models,
)
from service.store.tenancy import CachedSelect, in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from service.domain.access import Actor

MAX_ALIASES = 100  # of a model
MAX_EARLIER = 100  # versions that an alias can be rolled back through


@dataclass(frozen=True)
class ServedMember:
    """A file of a served version, with its weight."""

    path: str
    sha256: str
    weight: float
    predictions: tuple[str, str] | None
    """Artifact key and SHA-256 of its kept predictions."""


@dataclass(frozen=True)
class ServedVersion:
    """The version that an alias, or a version number, points to at one moment, with its files."""

    name: str
    version: int
    alias: str | None
    members: tuple[ServedMember, ...]
    calibration: ModelCalibration | None
    """As when it was published; None for versions of before."""


_PREDICTIONS = model_member_files.alias("predictions")
_FILES = select(
    *(model_members.c[name] for name in ("version", "path", "sha256", "weight")),
    _PREDICTIONS.c.path.label("predictions_path"),
    _PREDICTIONS.c.sha256.label("predictions_sha256"),
    model_versions.c.signature["calibration"].label("calibration"),
).order_by(model_members.c.place)
_OF_MEMBER = and_(
    *(_PREDICTIONS.c[name] == model_members.c[name] for name in ("tenant", "model_id", "version", "place")),
    _PREDICTIONS.c.kind == JobFileKind.predictions,
)
_VERSION_OF_MEMBER = and_(
    *(model_versions.c[name] == model_members.c[name] for name in ("tenant", "model_id", "version"))
)
_OF_VERSION = and_(models.c.name == bindparam("name"), model_members.c.model_id == models.c.id)
_BY_VERSION = CachedSelect(
    _FILES.select_from(
        models.join(model_members, _OF_VERSION)
        .join(model_versions, _VERSION_OF_MEMBER)
        .outerjoin(_PREDICTIONS, _OF_MEMBER)
    ).where(model_members.c.version == bindparam("version")),
    models,
    model_members,
)
_OF_ALIAS = and_(model_aliases.c.model_id == models.c.id, model_aliases.c.alias == bindparam("alias"))
_MEMBER_OF_ALIAS = and_(model_members.c.model_id == models.c.id, model_members.c.version == model_aliases.c.version)
_BY_ALIAS = CachedSelect(
    _FILES.select_from(
        models.join(model_aliases, _OF_ALIAS)
        .join(model_members, _MEMBER_OF_ALIAS)
        .join(model_versions, _VERSION_OF_MEMBER)
        .outerjoin(_PREDICTIONS, _OF_MEMBER)
    ).where(models.c.name == bindparam("name")),
    models,
    model_aliases,
    model_members,
)


def served(connection: Connection, name: str, *, alias: str | None = None, version: int | None = None) -> ServedVersion:
    """What this alias, or this version, is made of, read in one statement. Raises NotFound."""
    if version is not None:
        rows = _BY_VERSION.execute(connection, name=name, version=version).all()
    else:
        rows = _BY_ALIAS.execute(connection, name=name, alias=alias).all()
    if not rows:
        require_model(connection, name)
        what = f"version {version}" if alias is None else f"alias {alias!r}"
        raise NotFound(f"the model {name!r} has no {what}")
    kept = rows[0].calibration
    calibration = None if kept is None else ModelCalibration.model_validate(kept)
    return ServedVersion(name, rows[0].version, alias, tuple(map(_member, rows)), calibration)


def _member(row: Row[Any]) -> ServedMember:
    kept = None if row.predictions_path is None else (row.predictions_path, row.predictions_sha256)
    return ServedMember(row.path, row.sha256, row.weight, kept)


def require_model(connection: Connection, name: str) -> str:
    """The id of the model of this name; raises NotFound."""
    query = select(models.c.id).where(in_tenant(connection, models), models.c.name == name)
    model_id: str | None = connection.scalar(query)
    if model_id is None:
        raise NotFound(f"no model {name!r}")
    return model_id


def of_models(connection: Connection, model_ids: Sequence[str]) -> dict[str, list[ModelAlias]]:
    """The aliases of these models, by model id."""
    these = in_tenant(connection, model_aliases), model_aliases.c.model_id.in_(model_ids)
    rows = connection.execute(select(model_aliases).where(*these).order_by(model_aliases.c.alias)).all()
    exist = _existing(connection, model_ids) if any(row.earlier for row in rows) else set()
    found: dict[str, list[ModelAlias]] = {}
    for row in rows:
        found.setdefault(row.model_id, []).append(_alias(row, exist))
    return found


def get(connection: Connection, name: str, alias: str) -> ModelAlias:
    """This alias of the model; raises NotFound."""
    model_id = require_model(connection, name)
    row = connection.execute(select(model_aliases).where(_this(connection, model_id, alias))).first()
    if row is None:
        raise NotFound(f"the model {name!r} has no alias {alias!r}")
    return _alias(row, _existing(connection, [model_id]))


def move(
    connection: Connection, model_id: str, alias: str, version: int, by: Actor, *, expected: int | None = None
) -> None:
    """Point the alias of a model, whose row this transaction has locked, to a version; does nothing if it does already.

    Raises NotFound for an unknown version, Conflict if the alias does not point to `expected`.
    """
    this = _this(connection, model_id, alias)
    row = connection.execute(select(model_aliases).where(this)).first()
    now = None if row is None else row.version
    if now == version:
        return  # also with `expected`: a retry of a move whose answer was lost succeeds
    if expected is not None and now != expected:
        points = "does not exist" if now is None else f"points to version {now}"
        raise Conflict(f"the alias {alias!r} {points}; expected: version {expected}")
    if (model_id, version) not in _existing(connection, [model_id]):
        raise NotFound(f"no version {version}")
    values = {"version": version, "moved_at": datetime.now(UTC), "moved_by": by.model_dump()}
    if row is None:
        _check_number(connection, model_id)
        new = {"model_id": model_id, "alias": alias, "tenant": tenant_of(connection), "earlier": [], **values}
        connection.execute(insert(model_aliases).values(new))
    else:
        values["earlier"] = _after_move(row.earlier, row.version, version)
        connection.execute(update(model_aliases).where(this).values(values))
    _log(connection, model_id, alias, now, version, by)


def _after_move(earlier: list[int], now: int, version: int) -> list[int]:
    """The versions to roll back through: a move to the last of them is a rollback, and takes it off."""
    if version in earlier:
        return earlier[: earlier.index(version)]
    return [*earlier, now][-MAX_EARLIER:]


def remove(connection: Connection, model_id: str, alias: str, by: Actor) -> None:
    """Delete the alias of a model, whose row this transaction has locked; raises NotFound."""
    statement = delete(model_aliases).where(_this(connection, model_id, alias)).returning(model_aliases.c.version)
    version = connection.scalar(statement)
    if version is None:
        raise NotFound(f"no alias {alias!r}")
    _log(connection, model_id, alias, version, None, by)


def history(
    connection: Connection, name: str, alias: str, *, limit: int, before: int | None = None
) -> list[AliasMoved]:
    """Moves of this alias, newest first, those before the move `before`; raises NotFound if it never existed."""
    model_id = require_model(connection, name)
    query = select(alias_moves).where(_moves(connection, model_id, alias))
    if before is not None:
        query = query.where(alias_moves.c.number < before)
    rows = connection.execute(query.order_by(alias_moves.c.number.desc()).limit(limit)).all()
    if not rows and connection.scalar(select(alias_moves.c.number).where(_moves(connection, model_id, alias))) is None:
        raise NotFound(f"the model {name!r} has no alias {alias!r}")
    return [AliasMoved.model_validate(dict(row._mapping), extra="ignore") for row in rows]


def pointing(connection: Connection, model_id: str, version: int) -> list[str]:
    """The aliases that point to this version."""
    these = in_tenant(connection, model_aliases), model_aliases.c.model_id == model_id
    query = select(model_aliases.c.alias).where(*these, model_aliases.c.version == version)
    return list(connection.scalars(query.order_by(model_aliases.c.alias)))


def _log(
    connection: Connection, model_id: str, alias: str, from_version: int | None, to_version: int | None, by: Actor
) -> None:
    last = connection.scalar(select(func.max(alias_moves.c.number)).where(_moves(connection, model_id, alias))) or 0
    values = {"from_version": from_version, "to_version": to_version, "at": datetime.now(UTC), "by": by.model_dump()}
    key = {"model_id": model_id, "alias": alias, "number": last + 1, "tenant": tenant_of(connection)}
    connection.execute(insert(alias_moves).values(**key, **values))


def _check_number(connection: Connection, model_id: str) -> None:
    these = in_tenant(connection, model_aliases), model_aliases.c.model_id == model_id
    if (connection.scalar(select(func.count()).select_from(model_aliases).where(*these)) or 0) >= MAX_ALIASES:
        raise Conflict(f"a model has {MAX_ALIASES} aliases at most; delete one first")


def _existing(connection: Connection, model_ids: Sequence[str]) -> set[tuple[str, int]]:
    """(model id, version) of all versions of these models."""
    these = in_tenant(connection, model_versions), model_versions.c.model_id.in_(model_ids)
    query = select(model_versions.c.model_id, model_versions.c.version).where(*these)
    return {(row.model_id, row.version) for row in connection.execute(query)}


def _this(connection: Connection, model_id: str, alias: str) -> ColumnElement[bool]:
    return and_(
        in_tenant(connection, model_aliases), model_aliases.c.model_id == model_id, model_aliases.c.alias == alias
    )


def _moves(connection: Connection, model_id: str, alias: str) -> ColumnElement[bool]:
    return and_(in_tenant(connection, alias_moves), alias_moves.c.model_id == model_id, alias_moves.c.alias == alias)


def _alias(row: Row[Any], exist: set[tuple[str, int]]) -> ModelAlias:
    previous = next((version for version in reversed(row.earlier) if (row.model_id, version) in exist), None)
    fields = {name: row._mapping[name] for name in ("alias", "version", "moved_at", "moved_by")}
    return ModelAlias(**fields, previous=previous)
