"""Keys: made, listed, revoked, and asked for. Of a key's text nothing is stored but its SHA-256."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update

from service.domain.access import Caller, Scope, digest, key_id_of, new_key
from service.errors import InvalidKey, NotFound, UnknownKey
from service.spec.base import FrozenModel
from service.store.ids import new_id
from service.store.schema import keys

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


class Key(FrozenModel):
    """What is known of a key; never the key itself."""

    id: str
    """Its id, which its text has in it."""
    tenant: str
    """Whose it is."""
    name: str | None
    """A name for people."""
    scope: Scope
    """What it allows."""
    created_at: datetime
    """When it was made (UTC)."""
    expires_at: datetime | None
    """When it ends by itself; null: never."""
    revoked_at: datetime | None
    """When it was revoked; null: it was not."""

    @property
    def status(self) -> str:
        """`valid`, or why it is not."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= datetime.now(UTC) else "valid"


_COLUMNS = [keys.c[name] for name in Key.model_fields]
_ONE = select(keys).where(keys.c.id == bindparam("id"))


def create(
    connection: Connection, tenant: str, scope: Scope, *, name: str | None = None, expires_at: datetime | None = None
) -> tuple[Key, str]:
    """A new key and its text, which cannot be had again."""
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
    """All keys, or those of one tenant, in the order they were made."""
    query = select(*_COLUMNS).order_by(keys.c.id)
    return [_key(row) for row in connection.execute(query if tenant is None else query.where(keys.c.tenant == tenant))]


def revoke(connection: Connection, key_id: str) -> Key:
    """From now on the key opens nothing; revoking twice changes nothing. Raises NotFound."""
    now = func.coalesce(keys.c.revoked_at, datetime.now(UTC))
    statement = update(keys).where(keys.c.id == key_id).values(revoked_at=now)
    row = connection.execute(statement.returning(*_COLUMNS)).first()
    if row is None:
        raise NotFound(f"no key {key_id!r}")
    return _key(row)


def any_exist(connection: Connection) -> bool:
    """Whether a key was ever made: from then on nobody comes in without one."""
    return connection.scalar(select(keys.c.id).limit(1)) is not None


def authenticate(connection: Connection, text: str) -> Caller:
    """Who sends this key; raises InvalidKey."""
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
