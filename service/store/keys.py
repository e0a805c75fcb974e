"""API keys: create, list, revoke, authenticate. Only the SHA-256 of a key is stored."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update

from service.domain.access import Actor, Caller, Scope, digest, key_id_of, new_key
from service.errors import InvalidKey, NotFound, UnknownKey
from service.spec.base import FrozenModel
from service.store.ids import new_id
from service.store.schema import keys

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


class Key(FrozenModel):
    """An API key's metadata, without its secret."""

    id: str
    """The key's id, which is also part of its text."""
    tenant: str
    """The tenant whose data it opens."""
    name: str | None
    """Optional name."""
    scope: Scope
    """What requests it allows."""
    created_at: datetime
    """Creation time (UTC)."""
    expires_at: datetime | None
    """Expiry time (UTC); null: never expires."""
    revoked_at: datetime | None
    """Revocation time (UTC); null: not revoked."""

    @property
    def status(self) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= datetime.now(UTC) else "valid"


_COLUMNS = [keys.c[name] for name in Key.model_fields]
_ONE = select(keys).where(keys.c.id == bindparam("id"))


def create(
    connection: Connection, tenant: str, scope: Scope, *, name: str | None = None, expires_at: datetime | None = None
) -> tuple[Key, str]:
    """Create a key; returns it with its text, which cannot be recovered later."""
    key = Key(
        id=new_id("key"),
        tenant=tenant,
        name=name,
        scope=scope,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        revoked_at=None,
    )
    text = new_key(key.id)
    connection.execute(insert(keys).values(**key.model_dump(), sha256=digest(text)))
    return key, text


def find(connection: Connection, tenant: str | None = None) -> list[Key]:
    """All keys, or those of one tenant, oldest first."""
    query = select(*_COLUMNS).order_by(keys.c.id)
    return [_key(row) for row in connection.execute(query if tenant is None else query.where(keys.c.tenant == tenant))]


def revoke(connection: Connection, key_id: str) -> Key:
    """Revoke a key; idempotent. Raises NotFound."""
    now = func.coalesce(keys.c.revoked_at, datetime.now(UTC))
    statement = update(keys).where(keys.c.id == key_id).values(revoked_at=now)
    row = connection.execute(statement.returning(*_COLUMNS)).first()
    if row is None:
        raise NotFound(f"no key {key_id!r}")
    return _key(row)


def actor(connection: Connection, key_id: str | None) -> Actor:
    """Who sends requests with this key, for the records of what they did."""
    name = None if key_id is None else connection.scalar(select(keys.c.name).where(keys.c.id == key_id))
    return Actor(key=key_id, name=name)


def any_exist(connection: Connection) -> bool:
    """Whether any key was ever created: from then on, requests need one."""
    return connection.scalar(select(keys.c.id).limit(1)) is not None


def authenticate(connection: Connection, text: str) -> Caller:
    """The caller that this key belongs to; raises UnknownKey, and InvalidKey if it has expired or was revoked."""
    row: Row[Any] | None = connection.execute(_ONE, {"id": key_id_of(text)}).first()
    if row is None or not hmac.compare_digest(row.sha256, digest(text)):
        raise UnknownKey
    key = _key(row)
    if key.status != "valid":
        since = key.revoked_at or key.expires_at
        assert since is not None
        raise InvalidKey(f"the key {key.id} is {key.status} since {since:%Y-%m-%d %H:%M} UTC")
    return Caller(key.tenant, key.scope, key.id)


def _key(row: Row[Any]) -> Key:
    return Key.model_validate({name: row._mapping[name] for name in Key.model_fields})
